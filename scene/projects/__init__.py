"""Projects of other programs as scenes: cameras and points are given, images and masks are read where they are."""
