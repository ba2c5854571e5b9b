"""Static Gaussian splats of a scene: initialization, optimization, scores of held-out frames, rendering."""
