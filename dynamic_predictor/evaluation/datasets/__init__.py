"""Readers of data sets with ground truth in their published folder structure, for evaluation and training."""
