"""Motion masks from what a quick draft of the static scene does not explain."""
