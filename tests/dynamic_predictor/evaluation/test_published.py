"""The file of published figures: every entry is complete, has a source, and is of a data set that we have."""

import json

from dynamic_predictor.evaluation.datasets.registry import DATASETS
from dynamic_predictor.evaluation.published import published_figures, published_psnr, published_region_similarity
from tests.paths import ROOT


def test_every_figure_has_a_source_and_a_data_set() -> None:
    content = json.loads((ROOT / "benchmarks" / "published.json").read_text())
    for entry in [*content["figures"], *content["psnr"], *content["region_similarity"]]:
        assert entry["source"] in content["sources"] and entry["dataset"] in DATASETS
    for entry in content["psnr"]:
        assert tuple(entry["clips"]) == DATASETS[entry["dataset"]].published_clips
        assert published_psnr(entry["dataset"])["DAS3R"][entry["clips"][0]] == entry["methods"]["DAS3R"][0]
    assert published_figures("sintel", "pose")["DAS3R"]["ate"] == 0.107  # table of the DAS3R repository
    assert published_figures("davis", "mask")["DAS3R"] == {"j_mean": 0.397}
    assert published_figures("davis", "pose") == {}


def test_region_similarity_of_every_clip_of_davis() -> None:
    for method, clips in published_region_similarity("davis").items():
        assert len(clips) == 50, method
        assert all(0.0 <= value <= 1.0 for value in clips.values())
    assert published_region_similarity("davis")["ARP"]["bear"] == 0.92  # the leaderboard's file of results
    assert published_region_similarity("sintel") == {}
