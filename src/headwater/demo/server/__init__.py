"""The catalog of a demo planet, served over HTTP: `serve` (STAC API, assets, tokens) and `catalog_contents`."""
