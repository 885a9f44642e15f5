"""The demo planet: a seeded landscape that looks to the pipeline like the real sources, and its catalogue."""
