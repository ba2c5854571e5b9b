"""Published figures, to stand beside ours in a table.

Camera paths and masks are those of the tables in the DAS3R repository; depth is quoted from later papers. What is
equal between them and us, and what is not, is in docs/evaluation.md.
"""

#: (data set, kind of figure) -> method -> figures as they are keyed in the tables
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
