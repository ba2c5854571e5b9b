"""Image descriptors that recognize a place: what loop closure compares frames by."""
