"""The options of the predictors' own settings: offered by every command, used or refused."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest

from dynamic_predictor.launch import main as launch
from dynamic_predictor.predictor_options import option_flags, predictor_options
from dynamic_predictor.specs import registered, specs
from scene.option import KEY, option
from stillsplat.cli import main
from tests.dynamic_predictor.toy_predictor import SPEC, ToyPredictor
from tests.stillsplat.stand_ins import clip_images, write_clip


@dataclass(frozen=True)
class _Settings:
    depth: float = option(3.0, "depth of the plane", metavar="DEPTH", flags=("--plane-depth",))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip", clip_images(6))


def test_every_declared_field_of_every_predictor_is_an_option():
    found = predictor_options()
    for name, spec in specs().items():
        declared = {item.name for item in fields(spec.settings_type()) if KEY in item.metadata}
        assert declared <= found.keys()
        assert all(name in found[item].predictors for item in declared)
    assert {"scene_graph", "ref_view_strategy", "rounds"} <= found.keys()
    assert option_flags(["export_feat_layers", "n"]) == "--export-features, --n"


def test_two_declarations_of_one_name_that_differ_are_a_mistake():
    other = replace(SPEC, name="other", settings_type=lambda: _Settings)

    @dataclass(frozen=True)
    class Different:
        depth: float = option(3.0, "something else")

    with registered(other), registered(replace(SPEC, name="third", settings_type=lambda: Different)):
        with pytest.raises(ValueError, match="third and other declare the option depth differently"):
            predictor_options()


@pytest.mark.parametrize("command", ["run", "predict", "poses", "depth"])
def test_an_option_of_a_predictor_reaches_it_and_no_other_takes_it(clip, tmp_path, capsys, command):
    seen: list[float] = []

    class Toy(ToyPredictor):
        def __init__(self, settings) -> None:
            seen.append(settings.depth)
            super().__init__(settings)

    def load(settings, device, seed):
        return Toy(settings)

    more = ["--iterations", "1"] if command == "run" else []
    words = [command, str(clip), "--plane-depth", "5.5", *more]
    with registered(replace(SPEC, settings_type=lambda: _Settings, load=load)):
        assert main([*words, "-o", str(tmp_path / "out"), "--predictor", "toy"]) == 0, capsys.readouterr().err
        assert seen == [5.5]
        capsys.readouterr()
        assert main([*words, "-o", str(tmp_path / "other"), "--predictor", "das3r"]) == 2
        assert "predictor das3r has nothing of that kind; leave out --plane-depth." in capsys.readouterr().err


def test_an_option_of_a_predictor_is_one_of_launch_too(clip, tmp_path, capsys):
    seen: list[float] = []

    def load(settings, device, seed):
        seen.append(settings.depth)
        return ToyPredictor(settings)

    words = ["--mode=eval_pose_custom", f"--dir_path={clip}", "--depth=2.5", "--silent"]
    with registered(replace(SPEC, settings_type=lambda: _Settings, load=load)):
        assert launch([*words, "--predictor=toy", f"--output_dir={tmp_path / 'out'}"]) == 0
        assert seen == [2.5]
        assert launch([*words, "--predictor=geometric", f"--output_dir={tmp_path / 'other'}"]) == 2
    assert "--depth: the predictor geometric has nothing of that kind" in capsys.readouterr().err


def test_a_run_that_is_resumed_keeps_the_options_of_its_predictor(clip, tmp_path, capsys):
    with registered(replace(SPEC, settings_type=lambda: _Settings)):
        words = ["run", str(clip), "-o", str(tmp_path / "out"), "--predictor", "toy", "--iterations", "1"]
        assert main([*words, "--plane-depth", "5.5"]) == 0
        capsys.readouterr()
        assert main([*words, "--plane-depth", "4.5", "--resume"]) == 2
        assert "begun with another value of --plane-depth;" in " ".join(capsys.readouterr().err.split())
        assert main([*words, "--plane-depth", "5.5", "--resume"]) == 0
