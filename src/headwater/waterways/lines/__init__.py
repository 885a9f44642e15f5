"""From a probability raster to lines that join the backbone: kernels on arrays."""
