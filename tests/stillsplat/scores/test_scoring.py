"""Figures and their listing for the user."""

from stillsplat.scores.scoring import figure, format_value, listed_scores


def test_figures_without_a_value_are_not_listed() -> None:
    scores = {
        "all": {"mask_iou": figure("mask_iou", 0.5, "all", "annotations", 8)},
        "held_out": {
            "psnr": figure("psnr", 31.456789, "held_out", "none", 2),
            "ssim": figure("ssim", float("nan"), "held_out", "none", 2),
        },
    }
    assert [row[:3] for row in listed_scores(scores)] == [
        ("psnr", "31.46 dB", "2 held-out frames"),
        ("mask_iou", "0.5000", "8 frames, annotations"),
    ]
    assert [row[0] for row in listed_scores(scores, ["mask_iou", "ssim"])] == ["mask_iou"]
    assert format_value(scores["held_out"]["ssim"]) == "–"
