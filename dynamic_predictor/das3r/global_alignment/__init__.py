"""Global alignment of a two-view network's predictions for pairs of frames into one scene (DUSt3R, MonST3R)."""
