"""Motion masks that a user gives: image files of any kind, arrays or a video, in either convention, for all frames or
some. `opening.open_masks` is the way in."""
