"""Grid, cells, basins and plans: where things are on Earth."""
