"""The catalog of a demo planet, served over HTTP."""
