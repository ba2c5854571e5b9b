"""Motion masks refined by a network that segments and follows what it is pointed at (docs/mask_refinement.md)."""
