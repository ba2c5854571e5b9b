"""Scores a finished run against complete ground truth (`scene.truth`) or against annotated masks."""

from pathlib import Path
from typing import Any

from scene.errors import InputError
from scene.files.json_files import write_json
from scene.files.locking import only_process
from scene.folder import load_scene
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from stillsplat.run_folder import RunFolder, code_version, open_run
from stillsplat.run_records import read_evaluation, read_metrics
from stillsplat.scores.against_truth import score_against_truth
from stillsplat.scores.scoring import score_run


def evaluate(
    output: str | Path,
    *,
    truth: str | Path | None = None,
    annotations: str | Path | None = None,
    progress: Progress = ignore_progress,
) -> dict[str, Any]:
    """Scores the run in `output`, writes OUT/evaluation.json, updates the report, and returns the evaluation.

    Raises `InputError` when `output` is not a finished run, or when truth or annotations do not belong to its clip.
    """
    with only_process(Path(output)):
        return _evaluate(output, truth, annotations, progress)


def _evaluate(
    output: str | Path, truth: str | Path | None, annotations: str | Path | None, progress: Progress
) -> dict[str, Any]:
    folder = open_run(Path(output))
    for stage in ("scene", "optimize", "render"):
        if not folder.finished(stage):
            raise InputError(f"The run in {output} is not finished; resume it first (stillsplat run ... --resume).")
    scene = load_scene(folder.scene)
    folder.check_frames(len(scene.frames))
    if folder.metrics.exists():  # damage is found now, and not by the report at the end
        read_metrics(folder.metrics, len(scene.frames))
    evaluation: dict[str, Any] = read_evaluation(folder.evaluation) or {"schema_version": 1}
    evaluation["code"] = code_version()
    if truth is not None:
        evaluation["truth"] = score_against_truth(folder, scene, Path(truth), progress)
    if annotations is not None:
        evaluation["annotations"] = _against_annotations(folder, scene, Path(annotations), progress)
    write_json(folder.evaluation, evaluation)
    if folder.finished("report"):
        from stillsplat.report import write_report

        write_report(folder, progress=progress)
    return evaluation


def _against_annotations(folder: RunFolder, scene: Scene, annotations: Path, progress: Progress) -> dict[str, Any]:
    from stillsplat.reconstruct import held_out_suffix, open_annotations

    masks = open_annotations(annotations, folder.settings, scene)
    optimized = folder.record["stages"]["optimize"]
    scores = score_run(
        scene.frames,
        lambda index: folder.render(index, scene.frames),
        scene.motion_masks,
        mask_source="predicted masks",
        test_frames=optimized["test_frames"],
        annotations=masks,
        observed=scene.observed,
        protocol_suffix=held_out_suffix(optimized),
        progress=progress,
    )
    return {"folder": str(annotations), "scores": scores.figures, "notes": scores.notes}
