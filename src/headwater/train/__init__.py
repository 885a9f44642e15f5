"""Training of networks on demo planets and on chips: labels, chips, losses and one readable loop."""
