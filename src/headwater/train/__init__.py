"""Training of networks on demo planets: labels, chips, losses and one readable loop."""
