"""Model strings: constructor calls, as text, that checkpoints of the DUSt3R family store and official code evaluates.
Here they are parsed; nothing is executed."""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from scene.errors import InputError

#: official model strings have a few hundred characters
_LONGEST = 1 << 14


def constructor_arguments(text: str, source: str, classes: Sequence[str], systems: str) -> dict[str, Any]:
    """The keyword arguments of the constructor call in a checkpoint's `args.model`.

    `classes`: the class that is called and, where its only argument is a call itself, the class of that. `source` names
    the file and `systems` the wanted networks in errors. Raises `InputError` for a call of another class and for
    anything but literal arguments.
    """
    broken = InputError(f"{source} has a model string that cannot be parsed: {text[:80]!r}.")
    if len(text) > _LONGEST:
        raise broken
    try:
        call: ast.expr = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise broken from error
    for depth, name in enumerate(classes):
        if depth > 0:
            assert isinstance(call, ast.Call)
            if len(call.args) != 1 or call.keywords:
                raise broken
            call = call.args[0]
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise broken
        if call.func.id != name:
            raise InputError(f"{source} is a checkpoint of {call.func.id[:60]}, not of {systems}.")
    assert isinstance(call, ast.Call)
    try:
        return {keyword.arg: _plain_value(keyword.value) for keyword in call.keywords if keyword.arg}
    except (ValueError, TypeError) as error:
        raise broken from error


def checked_size(value: Any, name: str, limit: int, source: str, *, whole: bool = True) -> Any:
    """`value` of the argument `name` as a number from 1 to `limit`, for `whole` ones as an int. Raises `InputError`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= limit or (whole and value != int(value)):
        raise InputError(f"{source} gives {name} as {described(value)}; a number from 1 to {limit} was expected.")
    return int(value) if whole else value


def rotary_base(arguments: Mapping[str, Any], source: str) -> float:
    """The base of the rotary position embedding that the argument `pos_embed` names (RoPE100). Raises `InputError`."""
    name = arguments.get("pos_embed", "RoPE100")
    found = re.fullmatch(r"RoPE([0-9]{1,6})", name) if isinstance(name, str) else None
    if found is None or int(found[1]) < 2:
        raise InputError(f"{source} has the position embedding {described(name)}; only RoPE is supported.")
    return float(found[1])


def described(value: Any) -> str:
    """`value` as text for messages, shortened."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _plain_value(node: ast.expr) -> Any:
    """The value of a literal; the bare name `inf` counts as a number."""
    if isinstance(node, ast.Name) and node.id == "inf":
        return math.inf
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_plain_value(node.operand)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_plain_value(element) for element in node.elts)
    if isinstance(node, ast.Constant):
        return node.value
    raise ValueError(ast.dump(node))
