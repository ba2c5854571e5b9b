"""Evaluation of predictors on data sets with annotations or ground truth."""
