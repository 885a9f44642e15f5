"""Errors, events, files, plugins and Sentinel-2's bands: what every wing needs and what knows no other."""
