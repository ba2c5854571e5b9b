"""DAS3R and MonST3R: two-view pointmap networks, their checkpoints, and the predictors made from them."""
