"""Scores of rasters and of lines against a truth."""
