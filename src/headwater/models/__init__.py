"""Networks: one file each with its frozen sizes, a registry of them, channel recipes and checkpoints."""
