"""One file to send: an interactive viewer of the splats, and the clip before and after, in a page without a network."""
