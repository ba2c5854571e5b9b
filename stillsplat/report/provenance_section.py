"""The report's section on where everything comes from: files, settings, versions, protocol, licenses of weights."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

from dynamic_predictor.mask_refinement.weights import SAM2
from dynamic_predictor.specs import specs
from dynamic_predictor.weights.entry import WeightsFile
from stillsplat.report.material import Material
from stillsplat.report.page import flattened
from stillsplat.run_folder import code_version

#: more exports than that are named by their folder
_LISTED_EXPORTS = 40
_PACKAGES = ("torch", "numpy", "opencv-python-headless", "av", "pillow")


def files_section(material: Material) -> list[dict[str, str]]:
    """Links to the files beside the report: relative address, name, what it is, size."""
    folder = material.folder
    known = [
        (folder.clean_video, "video of the static scene along the camera's path"),
        (folder.compare_video, "video: input, what moves, static scene side by side"),
        (folder.splats, "the Gaussians, for any 3DGS viewer"),
        (folder.path / "plate.mp4", "video of the clip without what moves"),
        (folder.path / "plate", "the clip without what moves, at its full size"),
        (folder.path / "mattes", "what the plate replaces"),
        (folder.path / "shadows", "the part of it that is shadow"),
        (folder.path / "invented", "what no frame has ever seen"),
        (folder.path / "plate.chan", "the cameras of the plate for compositing programs"),
        (folder.renders, "the static scene at every input camera"),
        (folder.seen, "small images: in how many frames a static point is seen"),
        (folder.scene, "cameras, motion masks, depth, COLMAP model"),
        (folder.metrics, "every figure with its protocol"),
        (folder.evaluation, "figures against the truth or annotations"),
        (folder.path / "evaluation", "renders of the novel views"),
        (folder.model, "settings, checkpoint and cameras of the optimization"),
        (folder.path / "run.json", "settings and times"),
    ]
    exports = sorted(folder.exports.iterdir()) if folder.exports.is_dir() else []
    if len(exports) > _LISTED_EXPORTS:
        known.append((folder.exports, "exports"))
    else:
        known += [(path, "export") for path in exports]
    return [_link(folder.path, path, what) for path, what in known if path.exists()]


def licenses_section(material: Material) -> list[tuple[str, str, str]]:
    """What the weights are for, their file, and their license: of the predictor and of the source of the masks."""
    rows = []
    name = material.scene.predictor or material.folder.settings.predictor or ""
    rows += _licenses("cameras, depth and masks", name)
    masks_from = material.folder.settings.masks_from
    if masks_from is not None:
        _, _, other = masks_from.partition(":")
        other = other or masks_from
        if other not in ("attention", name):
            rows += _licenses("motion masks", other)
    by = str(material.scene.provenance.get("masks", ""))
    rows += [("shapes of what moves", entry.name, entry.license) for entry in SAM2.values() if entry.name in by]
    flow = _flow_weights(material.folder.settings.flow)
    if flow is not None:
        rows.append(("optical flow", flow.name, flow.license))
    figures = (material.metrics or {}).get("scores", {}).values()
    if any((split.get("lpips") or {}).get("value") is not None for split in figures):
        rows.append(("the score lpips", "AlexNet of torchvision", "BSD 3-Clause"))
    return rows


def protocol_section(material: Material) -> str:
    """The protocol of the run and its deviations, as a sentence; empty before scoring."""
    metrics = material.metrics
    if metrics is None:
        return ""
    if metrics["protocol"] == "none":
        return "The run follows no published protocol. Every figure above names how it is computed."
    deviations = metrics.get("protocol_deviations") or []
    differs = f", but differs from it in: {', '.join(deviations)}" if deviations else ""
    return f"The run follows the protocol {metrics['protocol']}{differs}. Every figure above names how it is computed."


def value_lists(material: Material) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titles with names and values: settings, versions, findings of the predictor, record of the run."""
    folder, scene = material.folder, material.scene
    found = {name: value for name, value in scene.provenance.items() if name != "source_frames"}
    record = {name: value for name, value in folder.record.items() if name not in ("stages", "settings")}
    optimizer = folder.record["stages"].get("optimize", {}).get("settings") or {}
    settings = folder.settings.to_dict()
    if settings["export"] is None:
        del settings["export_options"]
    lists = {
        "Settings": settings,
        "Optimizer": optimizer,
        "What the predictor found": found,
        "Run": record,
        "Versions where this page was written": _versions(),
    }
    return [(title, flattened(values)) for title, values in lists.items() if values]


def _licenses(purpose: str, predictor: str) -> list[tuple[str, str, str]]:
    spec = specs().get(predictor)
    if spec is None:
        return [(purpose, predictor or "unknown predictor", "not known to this version")]
    if not spec.weights:
        return [(purpose, f"{predictor}: needs no weights", "–")]
    return [(purpose, f"{predictor}: {spec.weights[0].file_name}", spec.weights[0].license)]


def _flow_weights(name: str | None) -> WeightsFile | None:
    from dynamic_predictor.optical_flow.specs import FLOWS

    return FLOWS[name].weights if name in FLOWS else None


def _versions() -> dict[str, str]:
    found = {"stillsplat": code_version().removeprefix("stillsplat "), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | {"system": f"{platform.system()} {platform.machine()}"}


def _link(root: Path, path: Path, what: str) -> dict[str, str]:
    relative = path.relative_to(root).as_posix()
    if path.is_dir():
        count = sum(1 for _ in path.iterdir())
        size, end = f"folder, {count} {'entry' if count == 1 else 'entries'}", "/"
    else:
        size, end = _size(path.stat().st_size), ""
    return {"address": f"./{quote(relative)}{end}", "name": relative + end, "what": what, "size": size}


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1e3:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
