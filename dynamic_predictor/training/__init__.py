"""Training two-view predictors: pairs with truth, losses, the loop, its command."""
