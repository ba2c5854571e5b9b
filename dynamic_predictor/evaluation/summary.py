"""Tables of the scores of all clips, with published figures of other methods beside them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dynamic_predictor.evaluation.datasets.registry import DATASETS
from dynamic_predictor.evaluation.published import published_figures
from dynamic_predictor.evaluation.results_folder import ResultsFolder
from dynamic_predictor.evaluation.scores.depth import DepthScores, mean_depth_scores
from dynamic_predictor.evaluation.scores.masks import MaskScores, summarize_over_clips, summarize_over_frames
from dynamic_predictor.evaluation.scores.poses import PoseScores
from dynamic_predictor.evaluation.tables import Column, Table, write_tables

_FRAMES = Column("frames", "frames", 0, better="")
_POSE = (
    Column("ate", "ATE", 4),
    Column("rpe_translation", "RPE trans", 4),
    Column("rpe_rotation_degrees", "RPE rot"),
)
_DEPTH = (
    Column("abs_rel", "Abs Rel"),
    Column("sq_rel", "Sq Rel"),
    Column("rmse", "RMSE"),
    Column("log_rmse", "log RMSE"),
    Column("delta_1", "d<1.25", 1, 100.0, "higher", r"$\delta<1.25$"),
    Column("delta_2", "d<1.25^2", 1, 100.0, "higher", r"$\delta<1.25^2$"),
    Column("delta_3", "d<1.25^3", 1, 100.0, "higher", r"$\delta<1.25^3$"),
)
_COVERAGE = Column("coverage", "coverage", 1, 100.0, "higher")
_MASK = (
    Column("j_mean", "JM", 1, 100.0, "higher"),
    Column("j_recall", "JR", 1, 100.0, "higher"),
    Column("f_mean", "FM", 1, 100.0, "higher"),
    Column("f_recall", "FR", 1, 100.0, "higher"),
)
_IOU = Column("iou_pooled", "IoU", 1, 100.0, "higher")
_DECAY = (Column("j_decay", "JD", 1, 100.0), Column("f_decay", "FD", 1, 100.0))


def write_summary(
    folder: ResultsFolder,
    dataset: str,
    kind: str,
    scores: Mapping[str, Any],
    method: str,
    *,
    with_published: bool = True,
    deviations: Sequence[str] = (),
) -> list[str]:
    """Writes the tables of one kind ("pose", "depth" or "mask") and returns them as text.

    `scores` has, by clip, `PoseScores`, `MaskScores` or, for depth, a dict of figures by alignment. `method` is the
    name of their row in the tables with published figures, which `with_published` leaves out: those of depth are of
    whole clips. `deviations`: what is otherwise than in published figures, in words; the row names it.
    """
    method = f"{method} ({', '.join(deviations)})" if deviations else method
    tables = {"pose": pose_tables, "mask": mask_tables, "depth": depth_tables}[kind](dataset, scores, method)
    if not with_published:
        tables = [table for table in tables if table.first_heading == "clip"]
    write_tables(folder.tables(), kind, tables)
    return [table.text() for table in tables]


def pose_tables(dataset: str, scores: Mapping[str, PoseScores], method: str) -> list[Table]:
    """A table of all clips with their mean, and one of this mean beside published figures."""
    table = Table(f"{dataset}: camera path after a Sim(3) alignment", "clip", (_FRAMES, *_POSE))
    table.rows = {clip: asdict(score) for clip, score in scores.items()}
    table.add_mean()
    return [table, *_beside_published(dataset, "pose", _POSE, table.summary["mean"], method, scores)]


def mask_tables(dataset: str, scores: Mapping[str, MaskScores], method: str) -> list[Table]:
    """A table of all clips with the means over frames (as DAS3R) and clips (as DAVIS), and one beside published."""
    table = Table(f"{dataset}: motion masks against annotations, in %", "clip", (_FRAMES, *_MASK, _IOU, *_DECAY))
    table.rows = {clip: asdict(score) for clip, score in scores.items()}
    for clip, score in scores.items():
        own = asdict(summarize_over_clips([score]))
        table.rows[clip] = {**table.rows[clip], "j_decay": own["j_decay"], "f_decay": own["f_decay"]}
    over_frames = asdict(summarize_over_frames(list(scores.values())))
    table.summary["over frames"] = over_frames
    table.summary["over clips"] = asdict(summarize_over_clips(list(scores.values())))
    return [table, *_beside_published(dataset, "mask", _MASK, over_frames, method, scores)]


def depth_tables(dataset: str, scores: Mapping[str, Mapping[str, Any]], method: str) -> list[Table]:
    """For each alignment a table of all clips with the mean over valid pixels, and one beside published figures."""
    tables = []
    for alignment in next(iter(scores.values())):
        table = Table(f"{dataset}: depth, alignment {alignment}", "clip", (*_DEPTH, _COVERAGE))
        table.rows = {clip: found[alignment] for clip, found in scores.items()}
        keys = DepthScores.__dataclass_fields__
        clip_scores = [DepthScores(**{key: row[key] for key in keys}) for row in table.rows.values()]  # type: ignore[arg-type]
        mean = asdict(mean_depth_scores(clip_scores))
        table.summary["mean over pixels"] = mean
        tables.append(table)
        tables += _beside_published(dataset, f"depth {alignment}", _DEPTH, mean, method, scores)
    return tables


def _beside_published(
    dataset: str,
    kind: str,
    columns: tuple[Column, ...],
    ours: Mapping[str, object],
    method: str,
    clips: Collection[str],
) -> list[Table]:
    """A table of `ours` beside published figures; none where there are no such figures or they are for other clips."""
    published = published_figures(dataset, kind)
    whole = DATASETS[dataset].published_clips
    if not published or (whole is not None and not set(clips) <= set(whole)):
        return []
    used = [column for column in columns if any(column.key in row for row in published.values())]
    table = Table(f"{dataset}: {kind}, published figures of other methods and ours", "method", used)
    share = "" if whole is None or len(clips) == len(whole) else f" ({len(clips)} of {len(whole)} clips)"
    table.rows = {**published, f"{method}{share}": ours}
    return [table]
