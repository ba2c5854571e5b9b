"""One strategy per file for adding, moving and removing Gaussians during optimization."""
