"""Searching catalogs, pinning their items and signing addresses: the only wing that knows a provider."""
