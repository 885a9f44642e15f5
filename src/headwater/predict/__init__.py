"""Tiles in, blended probability out: networks run over a cell, a band of tiles at a time."""
