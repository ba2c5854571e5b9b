"""Training of two-view networks: pairs of frames with ground truth, losses, the training loop and its command."""
