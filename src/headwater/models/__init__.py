"""Networks: one file each with its frozen sizes, a registry of them, and checkpoints."""

from headwater.data import default_checkpoints
from headwater.models.checkpoint import Checkpoint, CheckpointMetadata, load_checkpoint, save_checkpoint
from headwater.models.importing import import_checkpoint

__all__ = [
    "Checkpoint",
    "CheckpointMetadata",
    "default_checkpoints",
    "import_checkpoint",
    "load_checkpoint",
    "save_checkpoint",
]
