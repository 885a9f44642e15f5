"""Networks, one file each, with their registry; channel recipes and checkpoints."""
