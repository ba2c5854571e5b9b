"""One file to send: an interactive viewer of the splats, and the clip before and after, in a page without a network."""

from stillsplat.share.build import SharedPage, write_share

__all__ = ["SharedPage", "write_share"]
