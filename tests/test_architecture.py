"""The arrows between packages: imports point one way, in no circle, and none is hidden in a string."""

import ast
from pathlib import Path

import pytest

from tests.paths import ROOT

#: package -> packages that its files may import
ARROWS = {
    "scene": {"scene", "kernels"},
    "terminal": {"terminal", "scene"},
    "dynamic_predictor": {"dynamic_predictor", "scene", "kernels"},
    "gaussian": {"gaussian", "scene", "kernels"},
    "viewer": {"viewer", "scene"},
    "gui": {"gui", "gaussian", "dynamic_predictor", "scene"},
    "stillsplat": {"stillsplat", "viewer", "gaussian", "dynamic_predictor", "terminal", "scene"},
    "kernels": {"kernels"},
}
#: files of dynamic_predictor that are commands of their own, with options and progress bars
FRONT_DOORS = {
    "dynamic_predictor/launch.py",
    "dynamic_predictor/launch_options.py",
    "dynamic_predictor/training/command.py",
}
KERNELS = {path.parent.name for path in (ROOT / "submodules").glob("*/*/__init__.py")}


def _files() -> list[Path]:
    packages = [ROOT / name for name in ARROWS if name != "kernels"]
    packages += [ROOT / "submodules" / path.parent.parent.name / path.parent.name for path in _kernel_inits()]
    return [path for package in packages for path in sorted(package.rglob("*.py"))]


def _kernel_inits() -> list[Path]:
    return sorted((ROOT / "submodules").glob("*/*/__init__.py"))


def _module(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "submodules":
        parts = parts[2:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _package(module: str) -> str | None:
    top = module.split(".")[0]
    return "kernels" if top in KERNELS else top if top in ARROWS else None


def imports(path: Path, modules: set[str]) -> set[str]:
    """Our modules that a file imports, at its top or in its functions, for types or for use."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0, f"{path} has a relative import"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = inside if all(name in modules for name in inside) else [node.module, *inside]
        else:
            continue
        found |= {name for name in names if name in modules}
    return found


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    files = {_module(path): path for path in _files()}
    return {module: imports(path, set(files)) - {module} for module, path in files.items()}


def test_arrows_point_one_way(graph):
    wrong = []
    for module, targets in graph.items():
        package = _package(module)
        assert package is not None
        allowed = set(ARROWS[package])
        if module.replace(".", "/") + ".py" in FRONT_DOORS:
            allowed.add("terminal")
        wrong += [f"{module} -> {target}" for target in targets if _package(target) not in allowed]
    assert wrong == []


def test_predictors_import_no_driver(graph):
    """A predictor turns views into a prediction; where they come from and who scores them is not its business."""
    rooms = (
        "attention_motion",
        "cut3r",
        "das3r",
        "depth_anything3",
        "geometric",
        "mask_refinement",
        "streamvggt",
        "optical_flow",
        "networks",
        "stitching",
        "place_recognition",
    )
    low = tuple(f"dynamic_predictor.{room}." for room in rooms)
    names = ("driver", "evaluation", "training", "preparation")
    high = tuple(f"dynamic_predictor.{room}." for room in names)
    wrong = [
        f"{module} -> {target}"
        for module, targets in graph.items()
        for target in targets
        if module.startswith(low) and target.startswith(high)
    ]
    assert wrong == []


def test_no_circle_of_files(graph):
    # a package's __init__ imports its own modules, which is no circle by itself
    state: dict[str, int] = {}

    def visit(module: str, path: list[str]) -> None:
        state[module] = 1
        for target in sorted(graph[module]):
            if target in path:
                pytest.fail(" -> ".join([*path[path.index(target) :], target]))
            if state.get(target) is None:
                visit(target, [*path, target])
        state[module] = 2

    for module in sorted(graph):
        if state.get(module) is None:
            visit(module, [module])


def test_no_import_is_hidden_in_a_string():
    """`import_module`, `__import__` and strings such as "package.module:function" hide an arrow."""
    hidden = []
    for path in _files():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in ("import_module", "__import__", "exec", "eval") and isinstance(node.ctx, ast.Load):
                if not (name == "eval" and isinstance(node, ast.Attribute)):  # a network's eval mode
                    hidden.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}")
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
                module = node.value.split(":")[0]
                if "." in module and _package(module) is not None and " " not in node.value:
                    hidden.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.value}")
    # the public names of Depth Anything 3 load lazily, so that settings need no torch
    assert [line for line in hidden if not line.startswith("dynamic_predictor/depth_anything3/__init__.py")] == []


def test_no_file_is_read_or_written_by_opencv():
    """`cv2.imwrite` reports a full disk by its result only, and crashes on names that are not UTF-8."""
    calls = []
    for path in _files():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("imread", "imwrite", "imreadmulti", "VideoWriter"):
                calls.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.attr}")
    assert calls == []


def test_a_test_is_found_by_the_path_of_its_module():
    """tests/a/b/test_c.py tests a/b/c.py or the folder a/b/c; a test_c_of_something.py tests a part of it.
    tests/robustness/ tries inputs of one kind in all readers or commands."""
    lost = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        parts = list(path.relative_to(ROOT / "tests").parts)
        if parts[0] == "robustness":  # hostile and unlucky input, by theme: what is tried goes through many modules
            continue
        name = path.stem.removeprefix("test_")
        folder = ROOT.joinpath(*parts[:-1])
        if parts[0] == "submodules":
            project = ROOT / "submodules" / parts[1].replace("_", "-")
            folder = project.joinpath(*parts[2:-1]) if len(parts) > 3 else project / parts[1]
        tested = {place.stem.lstrip("_") for place in folder.iterdir() if place.suffix != ".pyc"} | {folder.name}
        if parts[0] == "submodules":
            tested.add("kernel_build")  # beside setup.py
        if len(parts) == 1:
            tested |= {place.stem for place in (ROOT / "docs").glob("*.md")}
        if not any(name == stem or name.startswith(f"{stem}_") for stem in tested):
            lost.append("/".join(parts))
    assert lost == []
