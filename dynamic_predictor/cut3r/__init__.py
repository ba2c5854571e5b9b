"""CUT3R: a network that takes one view after the other with a state of constant size, and the predictor made of it."""
