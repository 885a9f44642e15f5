"""Fetching what a run needs from elsewhere once: basins, stream networks, lakes and published weights."""
