"""Headwater: the world's waterways from Sentinel-2 and Copernicus GLO-30 as one valid network."""
