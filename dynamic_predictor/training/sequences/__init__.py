"""Training of networks over sequences of views: CUT3R and StreamVGGT."""
