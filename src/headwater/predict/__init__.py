"""Prediction: composite and elevation in, blended probability of water out, one strip of tiles at a time."""
