"""Predictors: each turns the frames of a video into a scene (cameras, motion masks, depth)."""
