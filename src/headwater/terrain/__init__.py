"""Elevation of a cell and the terrain indices derived from it."""
