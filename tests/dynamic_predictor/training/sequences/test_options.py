"""Every number of a recipe can be given, and the documentation lists all options."""

import argparse
import re
from dataclasses import fields

import pytest

from dynamic_predictor.training.sequences.options import (
    SETTING_OPTIONS,
    SETTING_SWITCHES,
    add_options,
    chosen_settings,
    data_folder,
    start_file,
)
from dynamic_predictor.training.sequences.recipes import RECIPES
from dynamic_predictor.training.sequences.settings import Cut3rTrainingSettings, VggtTrainingSettings
from scene.errors import InputError
from tests.paths import ROOT

#: fields that no option sets: what a recipe is, and the two numbers of AdamW that all published recipes share
FIXED = {"task", "betas"}


def parsed(recipe: str, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pretrained")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--amp", action="store_true")
    add_options(parser, recipe)
    options = parser.parse_args(words)
    options.recipe = recipe
    return options


def test_every_field_has_an_option_and_every_option_a_field():
    names = {item.name for kind in (Cut3rTrainingSettings, VggtTrainingSettings) for item in fields(kind)}
    assert {option.field for option in {**SETTING_OPTIONS, **SETTING_SWITCHES}.values()} == names - FIXED


@pytest.mark.parametrize("recipe", RECIPES)
def test_without_options_the_recipe_holds(recipe):
    assert chosen_settings(parsed(recipe)) == RECIPES[recipe].settings


def test_options_replace_numbers():
    settings = chosen_settings(
        parsed(
            "cut3r-512-vary", "--lr", "3e-6", "--views", "8", "--datasets", "co3d", "spring", "--samples", "co3d=7",
            "--resolutions", "512x288", "64x32", "--no-gradient_checkpointing", "--chunk_views", "2",
            "--test_resolution", "512x256", "--precision", "float32",
        )
    )  # fmt: skip
    assert isinstance(settings, Cut3rTrainingSettings)
    assert settings.learning_rate == 3e-6 and (settings.least_views, settings.views) == (4, 8)
    assert settings.samples == {"co3d": 7, "spring": 1200} and settings.resolutions == ((512, 288), (64, 32))
    assert not settings.gradient_checkpointing and settings.chunk_views == 2 and settings.precision == "float32"
    assert settings.test_resolution == (512, 256)
    fixed = chosen_settings(parsed("streamvggt", "--views", "6", "--amp"))
    assert (fixed.least_views, fixed.views, fixed.precision) == (6, 6, "bfloat16")


def test_what_a_recipe_does_not_have_is_refused():
    with pytest.raises(InputError, match="streamvggt has no --chunk_views"):
        chosen_settings(parsed("streamvggt", "--chunk_views", "4"))
    with pytest.raises(InputError, match="no training set sintel"):
        chosen_settings(parsed("streamvggt", "--datasets", "sintel"))
    with pytest.raises(InputError, match="--data"):
        data_folder(parsed("streamvggt"))
    with pytest.raises(InputError, match="checkpoint-final.pth of cut3r-stage1"):
        start_file(parsed("cut3r-stage2"), RECIPES["cut3r-stage2"])
    assert start_file(parsed("cut3r-stage2", "--pretrained", "x.pth"), RECIPES["cut3r-stage2"]) == "x.pth"
    assert start_file(parsed("cut3r-stage1"), RECIPES["cut3r-stage1"]) is None
    assert start_file(parsed("streamvggt"), RECIPES["streamvggt"]) == "vggt"


def test_the_documentation_lists_all_options_and_recipes():
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `--(\w+)", text, re.M))
    assert listed == {*SETTING_OPTIONS, *SETTING_SWITCHES, "data", "datasets", "test_data", "teacher"}
    for recipe in RECIPES:
        assert f"`{recipe}`" in text, recipe
