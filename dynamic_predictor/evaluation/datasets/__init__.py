"""Data sets with truth, read where they lie in their standard folder structure; evaluation and training use them."""
