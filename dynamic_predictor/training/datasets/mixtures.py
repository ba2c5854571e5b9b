"""The mixtures of training sets of the published recipes of CUT3R (Wang et al., CVPR 2025) and StreamVGGT (Zhuo et al.,
2025): samples per epoch, resolutions and numbers of views."""

from dynamic_predictor.training.datasets.mixture import MixtureRecipe

_CUT3R_ORDER = (
    "co3d",
    "wildrgbd",
    "arkitscenes",
    "arkitscenes_highres",
    "scannetpp",
    "scannet",
    "hypersim",
    "blendedmvs",
    "megadepth",
    "mapfree",
    "waymo",
    "vkitti2",
    "unreal4k",
    "tartanair",
    "dl3dv",
    "cop3d",
    "mvimgnet",
    "realestate10k",
    "omniobject3d",
    "ken_burns_3d",
    "irs",
    "synscapes",
    "urbansyn",
    "eden",
    "smartportraits",
    "dynamic_replica",
    "spring",
    "bedlam",
    "mvs_synth",
    "point_odyssey",
    "uasol",
    "mp3d",
    "hoi4d",
)
_SQUARE = ((224, 224),)
_CUT3R_512 = (
    (512, 384), (512, 336), (512, 288), (512, 256), (512, 208),
    (512, 144), (384, 512), (336, 512), (288, 512), (256, 512),
)  # fmt: skip
_VGGT_518 = (
    (518, 392), (518, 336), (518, 294), (518, 266), (518, 210),
    (518, 154), (392, 518), (336, 518), (294, 518), (266, 518),
)  # fmt: skip


def _counts(*numbers: int) -> dict[str, int]:
    """Samples per epoch in the order of CUT3R's list; 0 leaves a set out."""
    return {name: number for name, number in zip(_CUT3R_ORDER, numbers, strict=False) if number}


MIXTURES: dict[str, MixtureRecipe] = {
    "cut3r-stage1": MixtureRecipe(
        _counts(
            32000, 48000, 100800, 56000, 33600, 56000, 33600, 33600, 33600, 100800, 78400,
            5000, 1000, 33600, 160000,
        ),
        _SQUARE, 4, 4,
    ),
    "cut3r-stage2": MixtureRecipe(
        _counts(
            48000, 60000, 54000, 18000, 6000, 42000, 12000, 6000, 6000, 60000, 48000,
            2400, 180, 18000, 222000, 400, 16000, 4000, 32000, 4000, 2000, 2000,
            500, 12000, 16000, 20000, 400, 32000, 2000, 20000, 12000, 24000,
        ),
        _SQUARE, 4, 4,
    ),
    "cut3r-stage3": MixtureRecipe(
        _counts(
            44800, 56000, 56000, 22400, 16800, 38400, 11200, 22400, 22400, 84000, 20000,
            5600, 168, 56000, 74000, 480, 19200, 4800, 0, 4800, 2400, 2400,
            600, 0, 19200, 36000, 9400, 36000, 1400, 7200, 14400, 28800, 12000,
        ),
        _CUT3R_512, 4, 4, allow_repeats=True,
    ),
    "cut3r-stage4": MixtureRecipe(
        _counts(
            22400, 28000, 28000, 2800, 2800, 70000, 2800, 11200, 8400, 28000, 21000,
            2800, 84, 42000, 42000, 3600, 9600, 4800, 12000, 0, 0, 0,
            0, 0, 0, 16800, 1200, 4800, 2400, 14400, 7200, 9600,
        ),
        _CUT3R_512, 32, 32,
    ),
    "cut3r-512-vary-4-64": MixtureRecipe(
        _counts(
            44800, 56000, 56000, 22400, 16800, 22400, 11200, 22400, 22400, 84000, 56000,
            5600, 168, 56000, 84000, 480, 19200, 4800, 38400, 0, 0, 0,
            0, 0, 0, 26400, 1200, 36000, 2400, 24000, 14400, 28800,
        ),
        _CUT3R_512, 4, 64, allow_repeats=True,
    ),
    "cut3r-224-fixed-16": MixtureRecipe(
        _counts(
            44800, 56000, 56000, 5600, 5600, 140000, 5600, 22400, 16800, 56000, 42000,
            5600, 168, 84000, 84000, 7200, 19200, 9600, 24000, 0, 0, 0,
            0, 0, 0, 33600, 2400, 9600, 4800, 28800, 14400, 19200,
        ),
        _SQUARE, 16, 16,
    ),
    "streamvggt": MixtureRecipe(
        {
            "co3d": 4500,
            "wildrgbd": 4500,
            "arkitscenes": 4500,
            "arkitscenes_highres": 2250,
            "scannetpp": 2250,
            "scannet": 4500,
            "hypersim": 1200,
            "blendedmvs": 2250,
            "megadepth": 2250,
            "waymo": 2250,
            "vkitti2": 2250,
            "omniobject3d": 1800,
            "spring": 1800,
            "mvs_synth": 450,
            "point_odyssey": 2250,
        },
        _VGGT_518, 10, 10,
    ),
}  # fmt: skip
