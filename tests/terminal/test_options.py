"""Options: defaults in the help of every command, presets, and values that cannot be meant."""

import argparse
from dataclasses import dataclass

import pytest

from scene.errors import InputError
from scene.option import check_values, option
from stillsplat.cli import _parser
from terminal.option_parser import CommandHelp, OptionParser
from terminal.options import add_options, settings_from


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for command in action.choices.values() for inner in _parsers(command)]
    return found


def _front_doors() -> list[argparse.ArgumentParser]:
    import render
    import train_gui

    return [*_parsers(_parser()), render._parser(), train_gui._parser()]


def test_every_option_says_its_default() -> None:
    silent = []
    for parser in _front_doors():
        formatter = CommandHelp("x")
        for action in parser._actions:
            is_plain = action.option_strings and action.default is not argparse.SUPPRESS and not action.required
            if is_plain and "default" not in (formatter._get_help_string(action) or ""):
                silent.append(f"{parser.prog} {action.option_strings}")
    assert not silent
    page = next(parser for parser in _front_doors() if parser.prog.endswith(" run")).format_help()
    for words in ("(default: 4000)", "(default: 120000)", "(default: standard)", "(default: no)"):
        assert words in " ".join(page.split())


PRESETS = {"plain": {}, "large": {"size": 9, "weight": 2.0}}


@dataclass(frozen=True)
class Settings:
    size: int = option(3, "size")
    weight: float = option(0.5, "weight", metavar="%")
    name: str | None = option(None, "name")
    kind: str = option(
        "plain", "kind", choices=("plain", "large"), presets={"plain": {}, "large": {"size": 9, "weight": 2.0}}
    )

    def __post_init__(self) -> None:
        check_values(self)


def _read(*words: str) -> Settings:
    parser = OptionParser(prog="p")
    commands = parser.add_subparsers(dest="command")
    add_options(commands.add_parser("do"), Settings)
    return settings_from(parser.parse_args(["do", *words]), Settings)


def test_what_is_given_wins_over_a_preset() -> None:
    assert _read() == Settings()
    assert _read("--kind", "large") == Settings(size=9, weight=2.0, kind="large")
    assert _read("--size", "3", "--kind", "large") == Settings(weight=2.0, kind="large")
    assert _read("--kind", "plain", "--weight", "1") == Settings(weight=1.0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--size", "4294967296"), "--size must be at most 2147483647, not 4294967296."),
        (("--size", "9" * 4000), "--size must be at most 2147483647, not a number of more than 40 digits."),
        (("--size", "9" * 5000), "invalid int value: '99999"),
        (("--weight", "nan"), "--weight must be a finite number, not nan."),
        (("--weight", "-inf"), "--weight must be a finite number, not -inf."),
        (("--weight", "1e300"), "--weight must be at most 1e+12, not 1e+300."),
    ],
)
def test_numbers_that_cannot_be_meant(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        _read(*(word.replace("-inf", " -inf") for word in words))
    assert sentence in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size": "3"}, "--size must be a whole number, not '3'."),
        ({"size": True}, "--size must be a whole number, not True."),
        ({"weight": None}, "--weight must be a number, not None."),
        ({"name": 5}, "--name must be text, not 5."),
        ({"name": ["x"] * 100}, "--name must be text, not ['x', 'x'"),
    ],
)
def test_values_of_another_type(values: dict, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings(**values)
    assert sentence in str(caught.value) and len(str(caught.value)) < 150
