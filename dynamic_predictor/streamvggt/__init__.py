"""StreamVGGT (Zhuo et al., 2025) and its teacher VGGT (Wang et al., CVPR 2025): cameras, depth, points and tracks of
the frames of a video by a transformer that attends within and across frames; causal, with a cache, or in both
directions."""
