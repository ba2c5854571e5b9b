"""Global alignment: one scene out of what a two-view network says about pairs of frames (DUSt3R, MonST3R)."""
