"""How good what a predictor finds is, against annotations and truth."""
