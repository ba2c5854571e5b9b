"""One file per outside format of cameras and points."""
