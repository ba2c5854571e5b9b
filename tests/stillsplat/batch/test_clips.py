"""Which clips a batch finds: in folders, manifests and data sets of either layout."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from scene.errors import InputError
from scene.images import read_image, write_png
from stillsplat.batch.clip_work import write_annotations
from stillsplat.batch.clips import find_clips
from stillsplat.settings import RunSettings
from tests.stillsplat.stand_ins import clip_images, write_clip


def test_a_folder_of_clips(tmp_path: Path) -> None:
    images = clip_images(2)
    write_clip(tmp_path / "b10", images)
    write_clip(tmp_path / "b9" / "images", images)
    write_clip(tmp_path / "b9" / "annotations", images)
    (tmp_path / "walk.MP4").write_bytes(b"")
    (tmp_path / "notes").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "readme.txt").write_text("no clip")
    found = find_clips(str(tmp_path))
    assert [clip.name for clip in found.clips] == ["b9", "b10", "walk"] and found.notes == ["No clip: notes."]
    assert found.clips[0].input == str(tmp_path / "b9" / "images")
    assert found.clips[0].annotations == str(tmp_path / "b9" / "annotations") and found.clips[1].annotations is None
    assert [clip.name for clip in find_clips(str(tmp_path), names=["walk", "b9"]).clips] == ["walk", "b9"]
    with pytest.raises(InputError, match="images of one clip; use stillsplat run"):
        find_clips(str(tmp_path / "b10"))
    with pytest.raises(InputError, match="holds no clips"):
        find_clips(str(tmp_path / "notes"))
    with pytest.raises(InputError, match="is one file"):
        find_clips(str(tmp_path / "walk.MP4"))
    with pytest.raises(InputError, match="nowhere does not exist; give a folder.*davis"):
        find_clips(str(tmp_path / "nowhere"))
    (tmp_path / "b10.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="Two clips are called b10"):
        find_clips(str(tmp_path))


def test_manifests(tmp_path: Path) -> None:
    write_clip(tmp_path / "one" / "images", clip_images(2))
    write_clip(tmp_path / "one" / "annotations", clip_images(2))
    manifest = tmp_path / "clips.json"
    entries = [
        {"input": "one"},
        {"input": "/abs/walk.mp4", "frames": "0:9"},
        {"input": "one", "name": "x", "masks": "m"},
    ]
    manifest.write_text(json.dumps({"clips": entries}))
    first, second, third = find_clips(str(manifest)).clips
    assert (first.name, first.input, first.annotations) == (
        "one", str(tmp_path / "one" / "images"), str(tmp_path / "one" / "annotations"),
    )  # fmt: skip
    assert (second.name, second.input, second.settings) == ("walk", "/abs/walk.mp4", {"frames": "0:9"})
    assert third.name == "x" and third.settings == {"masks": str(tmp_path / "m")}
    (tmp_path / "list.txt").write_text("# mine\n\none\n/abs/walk.mp4\n")
    assert [clip.name for clip in find_clips(str(tmp_path / "list.txt")).clips] == ["one", "walk"]
    for content, words in (
        ('{"clips": [{"input": "a", "speed": 3}]}', "Clip 1 of .* has the unknown entries speed"),
        ('{"clips": [{"name": "a"}]}', 'Clip 1 of .* has no "input"'),
        ('{"clips": [{"input": "a", "name": "../a"}]}', "cannot be called"),
        ('{"clips": "a"}', "has no list of clips"),
        ("[", "broken JSON"),
    ):
        manifest.write_text(content)
        with pytest.raises(InputError, match=words):
            find_clips(str(manifest))


def test_clips_of_a_data_set_in_folders(tmp_path: Path) -> None:
    """Of the published clips, those that are there; other clips by their names."""
    for name in ("dog", "camel", "bear"):
        write_clip(tmp_path / "davis" / name / "images", clip_images(2))
    for data in (tmp_path, tmp_path / "davis"):
        found = find_clips("davis", data=data)
        assert [clip.name for clip in found.clips] == ["camel", "dog"] and found.dataset == "davis"
        assert found.notes[0].startswith(f"Not in {data}: blackswan, car-shadow, ")
    assert [clip.name for clip in find_clips("davis", data=tmp_path, names=["bear"]).clips] == ["bear"]
    with pytest.raises(InputError, match="has no clip cat; there are: bear, camel, dog"):
        find_clips("davis", data=tmp_path, names=["cat"])
    with pytest.raises(InputError, match="say with --data where they are, or get them: python data/download_sintel.py"):
        find_clips("sintel", data=tmp_path)
    with pytest.raises(InputError, match="does not exist; give the folder of the clips with --data"):
        find_clips("davis", data=tmp_path / "nowhere")
    with pytest.raises(InputError, match="--mode=eval_pose --eval_dataset=davis"):
        find_clips("davis", data=tmp_path, scenes=tmp_path / "scenes")
    with pytest.raises(InputError, match="holds no scenes"):
        find_clips("davis", data=tmp_path, scenes=tmp_path / "davis")
    (tmp_path / "scenes" / "dog").mkdir(parents=True)
    (tmp_path / "scenes" / "dog" / "scene.json").write_text("{}")
    found = find_clips("davis", data=tmp_path, scenes=tmp_path / "scenes")
    assert [clip.input for clip in found.clips] == [str(tmp_path / "scenes" / "dog")]
    assert found.notes[-1].endswith(": camel.")


def test_official_layout_and_its_annotations(tmp_path: Path) -> None:
    folder = tmp_path / "davis" / "DAVIS"
    write_clip(folder / "JPEGImages" / "480p" / "dog", clip_images(12))
    for index in range(12):
        mask = np.zeros((40, 64), np.uint8)
        mask[:, :index] = 200
        target = folder / "Annotations" / "480p" / "dog" / f"frame{index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_png(target, mask)
    (clip,) = find_clips("davis", data=tmp_path, names=["dog"]).clips
    assert clip.input == str(folder / "JPEGImages" / "480p" / "dog") and clip.dataset == ("davis", str(tmp_path))
    settings = RunSettings(clip.input, predictor="geometric", protocol="das3r")
    write_annotations(clip, settings, tmp_path / "masks")
    masks = [read_image(path)[..., 0] for path in sorted((tmp_path / "masks").iterdir())]
    assert [int((mask == 255).sum()) for mask in masks] == [40 * index for index in range(12)]
    shutil.rmtree(tmp_path / "masks")
    (target.parent / "frame11.png").unlink()
    write_annotations(clip, settings, tmp_path / "masks")
    assert not read_image(tmp_path / "masks" / "00011.png").any(), "a frame without annotation, which is not scored"
    (target.parent / "frame5.png").unlink()
    with pytest.raises(InputError, match="dog has no annotation of frame 5"):
        write_annotations(clip, settings, tmp_path / "masks")
