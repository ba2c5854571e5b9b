"""Training of DAS3R's network for pairs of frames."""
