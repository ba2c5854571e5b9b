"""Text files with pose scores in the format of DAS3R's evaluation, readable by its scripts."""

from pathlib import Path

from dynamic_predictor.evaluation.scores.poses import PoseScores
from scene.files.atomic import atomic_file


def write_metric_file(path: Path, clip: str, scores: PoseScores) -> None:
    """Writes `<clip>_eval_metric.txt` with the headings and rmse lines that DAS3R's averaging script parses."""
    parts = [
        ("APE w.r.t. translation part (m)", scores.ate),
        ("RPE w.r.t. rotation angle in degrees (deg)", scores.rpe_rotation_degrees),
        ("RPE w.r.t. translation part (m)", scores.rpe_translation),
    ]
    text = f"Seq: {clip}\n\n" + "".join(
        f"{heading}\n(with Sim(3) Umeyama alignment)\n\n      rmse\t{value:.6f}\n\n" for heading, value in parts
    )
    with atomic_file(path) as temporary:
        temporary.write_text(text)


def write_error_log(path: Path, dataset: str, scores: dict[str, PoseScores], failures: dict[str, str]) -> None:
    """Writes `_error_log.txt`: a line of scores for each clip, a line for each failed clip, and the averages."""
    lines = [
        f"{dataset}-{clip:<16} | ATE: {s.ate:.5f}, RPE trans: {s.rpe_translation:.5f}, "
        f"RPE rot: {s.rpe_rotation_degrees:.5f}"
        for clip, s in scores.items()
    ]
    lines += [f"Exception in sequence {clip}: {sentence}" for clip, sentence in failures.items()]
    if scores:
        count = len(scores)
        means = [
            sum(getattr(s, key) for s in scores.values()) / count
            for key in ("ate", "rpe_translation", "rpe_rotation_degrees")
        ]
        lines.append(f"Average ATE: {means[0]:.5f}, Average RPE trans: {means[1]:.5f}, Average RPE rot: {means[2]:.5f}")
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
