"""Paths of the checkout and of the real test data."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
SHARED = ROOT.parent / "shared" / "data"
"""Real data next to the checkout; tests that need it are marked `real`."""
