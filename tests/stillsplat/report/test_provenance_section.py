"""Licenses of the weights that a result was made with, and links to the files beside the report."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from dynamic_predictor.optical_flow.specs import FLOWS
from dynamic_predictor.specs import specs
from stillsplat.report.material import Material
from stillsplat.report.provenance_section import files_section, licenses_section, protocol_section
from stillsplat.run_folder import RunFolder


def material(
    predictor: str, metrics: dict[str, Any] | None = None, masks: str = "", **settings: str | None
) -> Material:
    """Only what the licenses depend on."""
    chosen = SimpleNamespace(**{"predictor": predictor, "masks_from": None, "flow": None, **settings})
    scene = SimpleNamespace(predictor=predictor, provenance={"masks": masks})
    folder = SimpleNamespace(settings=chosen)
    return cast(Material, SimpleNamespace(scene=scene, folder=folder, metrics=metrics))


def test_every_predictor_names_its_license() -> None:
    for name, spec in specs().items():
        ((_, weights, license),) = licenses_section(material(name))
        assert name in weights and license == (spec.license or "–")


def test_masks_flow_and_scores_have_licenses_of_their_own() -> None:
    scores = {"scores": {"training": {"lpips": {"value": 0.1}}}}
    rows = licenses_section(material("da3-large", scores, masks_from="das3r", flow="raft"))
    assert [purpose for purpose, _, _ in rows] == [
        "cameras, depth and masks", "motion masks", "optical flow", "the score lpips",
    ]  # fmt: skip
    assert rows[1][2] == specs()["das3r"].license
    raft = FLOWS["raft"].weights
    assert raft is not None and rows[2][2] == raft.license
    assert len(licenses_section(material("vggt4d" if "vggt4d" in specs() else "das3r", masks_from="attention"))) == 1
    assert licenses_section(material("da3-large", masks_from="attention:das3r"))[1][1].startswith("das3r: ")
    refined = licenses_section(
        material("geometric", masks="predicted (geometric), refined by sam2.1-hiera-tiny (1 of 1)")
    )
    assert refined[1:] == [("shapes of what moves", "sam2.1-hiera-tiny", "Apache-2.0")]
    assert licenses_section(material("of another package"))[0][2] == "not known to this version"


def test_protocol_and_its_deviations() -> None:
    assert protocol_section(material("geometric")) == ""
    das3r = {"protocol": "das3r", "protocol_deviations": ["60 iterations"]}
    sentence = protocol_section(material("geometric", das3r))
    assert sentence.startswith("The run follows the protocol das3r, but differs from it in: 60 iterations.")


def test_links_are_relative_quoted_and_bounded(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, {})
    assert files_section(cast(Material, SimpleNamespace(folder=folder))) == []
    (tmp_path / "clean.mp4").write_bytes(b"12345")
    folder.exports.mkdir()
    (folder.exports / "a b#?:.ply").write_bytes(b"x" * 2_500_000)
    links = files_section(cast(Material, SimpleNamespace(folder=folder)))
    assert [(link["address"], link["size"]) for link in links] == [
        ("./clean.mp4", "5 bytes"), ("./export/a%20b%23%3F%3A.ply", "2.5 MB"),
    ]  # fmt: skip
    for index in range(50):
        (folder.exports / f"{index}.ply").touch()
    assert files_section(cast(Material, SimpleNamespace(folder=folder)))[-1]["address"] == "./export/"
