"""The weight-free predictor: dense flow, structure from motion, depth from flow, motion by epipolar geometry."""
