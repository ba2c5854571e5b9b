"""Sizes of the network of VGGT and StreamVGGT, which have the same parameters."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DenseHeadSizes:
    """Channels of a dense head: `features` of the refinements, `channels` of the four levels before them."""

    features: int
    channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)


@dataclass(frozen=True)
class TrackerSizes:
    """The track head: its dense head, levels and radius of the correlations, width, depth and heads of the transformer
    that updates tracks, and the tracks without a point that the others exchange information through."""

    dense: DenseHeadSizes = DenseHeadSizes(128)
    levels: int = 7
    radius: int = 4
    width: int = 384
    depth: int = 6
    heads: int = 8
    virtual_tracks: int = 64


@dataclass(frozen=True)
class Architecture:
    """The network. Defaults are the published sizes.

    `width`, `depth`, `heads`: tokens, pairs of blocks within and across frames, and attention heads.
    `image_depth`, `image_heads`: DINOv2, which embeds the patches. `position_grid`: patches per side of the images that
    its position embedding was learned for. `taps`: the pairs of blocks whose output the heads see; the last one must be
    the last pair.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    image_depth: int = 24
    image_heads: int = 16
    position_grid: int = 37
    registers: int = 4
    taps: tuple[int, int, int, int] = (4, 11, 17, 23)
    camera_depth: int = 4
    camera_heads: int = 16
    dense: DenseHeadSizes = DenseHeadSizes(256)
    tracker: TrackerSizes = field(default_factory=TrackerSizes)

    def __post_init__(self) -> None:
        if self.taps[-1] != self.depth - 1:
            raise ValueError(f"the last tap must be block {self.depth - 1}, the last one, not {self.taps[-1]}")

    @property
    def special_tokens(self) -> int:
        """Tokens of a frame before those of its patches: the camera's and the registers."""
        return 1 + self.registers


PUBLISHED = Architecture()
