"""Optical flow between two frames: OpenCV's DIS, RAFT and SEA-RAFT behind one interface (`contract`)."""
