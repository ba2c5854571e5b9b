"""Options of a command, whose mistakes are one sentence like all others."""

import argparse
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from scene.errors import InputError

_LONGEST_VALUE = 80


class CommandHelp(argparse.RawDescriptionHelpFormatter):
    """Says the default of every option whose own words do not."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        has_none = action.required or action.default is argparse.SUPPRESS or not action.option_strings
        if text is None or has_none or "default" in text:
            return text
        value = {None: "none", False: "no", True: "yes", (): "none"}.get(action.default, action.default)
        return f"{text} (default: {str(value).replace('%', '%%')})"


class OptionParser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `InputError` for a mistake, instead of printing the usage and leaving.

    Values may begin with a minus sign if they are numbers, lists of numbers ("--offset -1,0,2") or axes ("--up -y").
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        keywords.setdefault("formatter_class", CommandHelp)
        super().__init__(*arguments, **keywords)
        self._negative_number_matcher = re.compile(r"^-(\d|\.\d|[xyz]$)")
        #: name of an option -> its `scene.option.Option.presets`
        self.presets: dict[str, Mapping[Any, Mapping[str, Any]]] = {}

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse's; an option with presets changes the defaults of others. `from_preset` in the result names the
        values that come from there."""
        before = dict(vars(namespace)) if namespace is not None else {}
        found, rest = super().parse_known_args(args, namespace)
        for name, presets in self.presets.items():
            values = {key: value for key, value in presets[getattr(found, name)].items() if hasattr(found, key)}
            if values:
                # once more with these defaults, so that what was given by itself wins
                defaults = {key: self.get_default(key) for key in values}
                self.set_defaults(**values)
                again, rest = super().parse_known_args(args, argparse.Namespace(**before))
                self.set_defaults(**defaults)
                vars(found).update(vars(again))
                found.from_preset = {key for key, value in values.items() if getattr(found, key) == value}
        return found, rest

    def error(self, message: str) -> NoReturn:
        # a value may have thousands of characters
        message = re.sub(rf"'([^']{{{_LONGEST_VALUE}}})[^']+'", r"'\1...'", message)
        raise InputError(f"{message[:1].upper()}{message[1:].rstrip('.')}; see {self.prog} --help.")
