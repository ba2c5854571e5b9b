"""Makes the annotations of CO3Dv2's test sequences that the evaluation reads, from the files of the data set.

co3d_v2/<category>/{frame_annotations.jgz,sequence_annotations.jgz,set_lists/set_lists_fewview_dev.json} become
co3d_v2_annotations/<category>_test.jgz: for each sequence with a viewpoint quality above 0.5, the path, R and T of its
images in the test part. Existing files are kept.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

from dynamic_predictor.evaluation.datasets.co3d import (  # noqa: E402
    ANNOTATION_FOLDER,
    CATEGORIES,
    IMAGE_FOLDER,
    read_jgz,
)
from scene.errors import InputError  # noqa: E402
from scene.files.atomic import atomic_file  # noqa: E402
from scene.files.json_files import read_json  # noqa: E402

_LEAST_QUALITY = 0.5


def prepare(data_folder: Path) -> int:
    """Prepares all categories on the disk and returns their number. Raises `InputError` when there are none, and when
    a file is damaged."""
    folder = data_folder / IMAGE_FOLDER
    found = [category for category in CATEGORIES if (folder / category / "frame_annotations.jgz").is_file()]
    if not found:
        raise InputError(f"{folder} holds no category with frame_annotations.jgz; unpack CO3Dv2 there.")
    for category in found:
        target = data_folder / ANNOTATION_FOLDER / f"{category}_test.jgz"
        if target.exists():
            continue
        content = json.dumps(_test_sequences(folder / category)).encode()
        with atomic_file(target) as temporary:
            temporary.write_bytes(gzip.compress(content, mtime=0))
    return len(found)


def _test_sequences(folder: Path) -> dict[str, list[dict[str, object]]]:
    try:
        good = {
            entry["sequence_name"]
            for entry in read_jgz(folder / "sequence_annotations.jgz")
            if entry.get("viewpoint_quality_score") is not None and entry["viewpoint_quality_score"] > _LEAST_QUALITY
        }
        frames = {
            (entry["sequence_name"], entry["frame_number"]): entry["viewpoint"]
            for entry in read_jgz(folder / "frame_annotations.jgz")
        }
        sequences: dict[str, list[dict[str, object]]] = {}
        for name, number, path in read_json(folder / "set_lists" / "set_lists_fewview_dev.json")["test"]:
            if name in good:
                view = frames[name, number]
                sequences.setdefault(name, []).append({"filepath": path, "R": view["R"], "T": view["T"]})
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{folder} has annotations of another kind than CO3Dv2's; download them again.") from None
    return sequences


def main() -> int:
    """Runs the command; returns its exit status: 0 done, 2 user error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=_ROOT / "data", help="folder of co3d_v2; default: data")
    try:
        count = prepare(parser.parse_args().folder)
    except InputError as error:
        print(f"prepare_co3d.py: {error}", file=sys.stderr)
        return 2
    print(f"{count} categories are prepared.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
