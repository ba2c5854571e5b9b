"""Static Gaussian splats: model, optimization, rasterizer backends, export."""
