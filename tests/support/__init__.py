"""Shared by tests: places, synthetic inputs, servers."""
