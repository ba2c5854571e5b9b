"""Published figures of other methods, for comparison in tables.

Figures of camera paths and masks are from the tables in the DAS3R repository, figures of depth from later papers.
docs/evaluation.md lists the differences between their protocols and ours.
"""

from dynamic_predictor.evaluation.datasets.davis import PUBLISHED_CLIPS as DAVIS_CLIPS
from dynamic_predictor.evaluation.datasets.sintel import PUBLISHED_CLIPS as SINTEL_CLIPS

#: (data set, kind of figure) -> method -> figures by column key
PUBLISHED: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    ("sintel", "pose"): {
        "Robust-CVD": {"ate": 0.360, "rpe_translation": 0.154, "rpe_rotation_degrees": 3.443},
        "CasualSAM": {"ate": 0.141, "rpe_translation": 0.035, "rpe_rotation_degrees": 0.615},
        "MonST3R": {"ate": 0.108, "rpe_translation": 0.042, "rpe_rotation_degrees": 0.732},
        "DAS3R": {"ate": 0.107, "rpe_translation": 0.041, "rpe_rotation_degrees": 0.669},
    },
    ("tum", "pose"): {
        "Robust-CVD": {"ate": 0.153, "rpe_translation": 0.026, "rpe_rotation_degrees": 3.528},
        "CasualSAM": {"ate": 0.071, "rpe_translation": 0.010, "rpe_rotation_degrees": 1.712},
        "MonST3R": {"ate": 0.104, "rpe_translation": 0.022, "rpe_rotation_degrees": 1.042},
        "DAS3R": {"ate": 0.072, "rpe_translation": 0.019, "rpe_rotation_degrees": 0.948},
    },
    ("davis", "mask"): {"MonST3R": {"j_mean": 0.325}, "DAS3R": {"j_mean": 0.397}},
    ("sintel", "mask"): {
        "MonST3R": {"j_mean": 0.371, "j_recall": 0.337, "f_mean": 0.458, "f_recall": 0.437},
        "DAS3R": {"j_mean": 0.593, "j_recall": 0.690, "f_mean": 0.523, "f_recall": 0.529},
    },
    ("sintel", "depth scale"): {
        "MonST3R": {"abs_rel": 0.378, "delta_1": 0.558},
        "CUT3R": {"abs_rel": 0.421, "delta_1": 0.479},
    },
    ("bonn", "depth scale"): {
        "MonST3R": {"abs_rel": 0.067, "delta_1": 0.963},
        "CUT3R": {"abs_rel": 0.078, "delta_1": 0.937},
    },
    ("kitti", "depth scale"): {
        "MonST3R": {"abs_rel": 0.168, "delta_1": 0.744},
        "CUT3R": {"abs_rel": 0.118, "delta_1": 0.881},
    },
    ("sintel", "depth scale_shift_adam"): {"MonST3R": {"abs_rel": 0.335, "delta_1": 0.585}},
    ("bonn", "depth scale_shift_adam"): {"MonST3R": {"abs_rel": 0.063, "delta_1": 0.964}},
    ("kitti", "depth scale_shift_adam"): {"MonST3R": {"abs_rel": 0.104, "delta_1": 0.895}},
}


def _by_clip(clips: tuple[str, ...], methods: dict[str, str]) -> dict[str, dict[str, float]]:
    return {name: dict(zip(clips, map(float, figures.split()), strict=True)) for name, figures in methods.items()}


#: data set -> method -> clip -> PSNR of held-out frames in dB by DAS3R's protocol
PUBLISHED_PSNR: dict[str, dict[str, dict[str, float]]] = {
    "davis": _by_clip(DAVIS_CLIPS, {
        "WildGaussians": "18.95 19.19 21.45 19.74 18.79 7.91 18.89 20.55",
        "Robust3DGS": "19.58 21.31 29.31 22.48 20.87 13.83 21.29 22.55",
        "SLS-mlp": "21.14 25.62 22.77 23.82 18.78 17.82 23.15 22.43",
        "MonST3R+InstantSplat": "20.30 20.97 25.55 24.41 24.38 18.95 25.26 25.35",
        "DAS3R": "23.90 27.27 29.13 28.63 25.09 17.09 28.09 26.41",
    }),
    "sintel": _by_clip(SINTEL_CLIPS, {
        "WildGaussians": "16.75 21.43 7.87 4.02 26.69 27.68 23.14 11.47 16.56 32.29 15.38 17.06 16.50 15.15",
        "Robust3DGS": "17.96 19.18 12.20 10.46 27.70 29.68 22.28 16.85 16.23 35.88 15.58 15.93 12.68 20.68",
        "SLS-mlp": "19.09 19.75 14.14 5.50 27.62 29.20 23.74 17.73 17.76 36.84 19.05 21.61 19.12 22.12",
        "MonST3R+InstantSplat": "27.70 22.51 18.04 14.75 27.40 31.94 27.12 23.57 26.86 43.89 31.20 35.73 28.84 21.00",
        "DAS3R": "31.10 24.52 26.28 19.26 28.32 31.86 29.03 26.49 23.58 45.60 26.30 25.67 27.18 23.90",
    }),
}  # fmt: skip
