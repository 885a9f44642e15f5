"""From a probability raster to lines on the backbone: kernels on arrays, then the network on tables."""
