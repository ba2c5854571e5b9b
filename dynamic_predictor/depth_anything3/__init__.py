"""Depth Anything 3 (Lin et al., 2025): depth, rays and cameras of any number of views, in our own code over the
published weights."""
