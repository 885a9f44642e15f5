"""Searching, pinning and signing: the only package that knows a provider."""
