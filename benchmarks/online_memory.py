"""Memory and time per frame of online predictors over a long clip: python -m benchmarks.online_memory [--frames 1000]

Networks are small, with made-up weights and made-up images; each case runs in a process of its own on one thread. Of
StreamVGGT there is a case for each policy of the cache, of CUT3R (`--system cut3r`) for each update rule, and the
official behavior beside them. `--predictor NAME` measures a predictor of `dynamic_predictor.specs` with its published
weights instead. Writes a dated JSON and a plot.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from dynamic_predictor.contract import OnlinePredictor, Views
from dynamic_predictor.cut3r.config import Cut3rConfig
from dynamic_predictor.cut3r.heads import Outputs
from dynamic_predictor.cut3r.network import Cut3rNetwork
from dynamic_predictor.cut3r.predictor import Cut3rPredictor
from dynamic_predictor.cut3r.settings import Cut3rSettings
from dynamic_predictor.cut3r.weights import CUT3R_224
from dynamic_predictor.networks.rotary import Rotation, rotate
from dynamic_predictor.parity.case import network_without_values
from dynamic_predictor.parity.made_up_weights import fill_with_made_up_weights
from dynamic_predictor.specs import create_predictor, predictor_spec
from dynamic_predictor.streamvggt.architecture import Architecture, DenseHeadSizes, TrackerSizes
from dynamic_predictor.streamvggt.network import ALL, FrameOutputs, GeometryNetwork
from dynamic_predictor.streamvggt.predictor import StreamVGGTPredictor
from dynamic_predictor.streamvggt.settings import StreamVGGTSettings
from scene.errors import InputError
from scene.files.json_files import write_json
from scene.frames import MemoryFrames

_DENSE = DenseHeadSizes(32, (16, 32, 48, 48))
#: a small StreamVGGT
SMALL = Architecture(
    width=96,
    depth=8,
    heads=3,
    image_depth=2,
    image_heads=3,
    taps=(1, 3, 5, 7),
    camera_depth=2,
    camera_heads=4,
    dense=_DENSE,
    tracker=TrackerSizes(_DENSE, levels=3, radius=3, width=48, depth=2),
)
SIZE = 56
#: a small CUT3R
SMALL_CUT3R = Cut3rConfig(
    head_type="linear",
    encoder_width=192,
    encoder_depth=4,
    encoder_heads=3,
    decoder_width=192,
    decoder_depth=4,
    decoder_heads=3,
    state_decoder_heads=4,
    state_size=96,
    memory_size=32,
)
CUT3R_SIZE = 64
#: tokens of a frame: camera, registers, patches
_TOKENS = SMALL.special_tokens + (SIZE // 14) ** 2
_FRAMES = 16
#: results are kept for every so many frames
_EVERY = 5


@dataclass(frozen=True)
class Case:
    """What is measured. `make` returns a function that takes the number of a frame and its uint8 RGB image, and one
    that says how many bytes are kept between frames."""

    name: str
    make: Callable[[], tuple[Callable[[int, np.ndarray], Any], Callable[[], int]]]


def small_network(architecture: Architecture = SMALL) -> GeometryNetwork:
    """StreamVGGT with made-up weights."""
    network = network_without_values(lambda: GeometryNetwork(architecture))
    fill_with_made_up_weights(network.state_dict())
    return network.requires_grad_(False)


def _online(make: Callable[[], OnlinePredictor]) -> tuple[Callable[[int, np.ndarray], Any], Callable[[], int]]:
    predictor = make()
    predictor.start()

    def step(number: int, image: np.ndarray) -> Any:
        return predictor.step(Views(MemoryFrames(image[None])))

    return step, lambda: sum(array.nbytes for array in predictor.state().values())


def _policy(policy: Any, bits: int | None = None) -> Callable[[], Any]:
    settings = StreamVGGTSettings(
        image_size=SIZE, cache=policy, cache_frames=_FRAMES, cache_tokens=_FRAMES * _TOKENS, cache_bits=bits
    )
    return lambda: _online(lambda: StreamVGGTPredictor(settings, network=small_network()))


class OfficialStream:
    """StreamVGGT's own streaming, as its code does it: raw keys and values, of which new tensors are made for every
    frame; all keys are normalized and rotated again each time; the tokens of all blocks are kept until the heads have
    run; one cache of the camera head for all refinements."""

    def __init__(self, network: GeometryNetwork) -> None:
        self.network = network
        self.across: list[tuple[Tensor, Tensor] | None] = [None] * network.architecture.depth
        self.cameras: list[tuple[Tensor, Tensor] | None] = [None] * network.architecture.camera_depth
        self.frames = 0

    @property
    def bytes(self) -> int:
        kept = [pair for pair in (*self.across, *self.cameras) if pair is not None]
        return sum(numbers.numel() * numbers.element_size() for pair in kept for numbers in pair)

    @torch.no_grad()
    def step(self, images: Tensor) -> FrameOutputs:
        """Results for one more frame (1, 3, H, W)."""
        aggregator = self.network.aggregator
        tokens = aggregator._tokens(images[:, None], first=self.frames == 0)[:, 0]
        rotation = aggregator._rotation(images)
        self.frames += 1
        outputs = []
        for index, (within, across) in enumerate(zip(aggregator.frame_blocks, aggregator.global_blocks, strict=True)):
            tokens = local = within(tokens, rotation)
            tokens = tokens + across.ls1(self._attention(index, across.attn, across.norm1(tokens), rotation))
            tokens = tokens + across.ls2(across.mlp(across.norm2(tokens)))
            outputs.append(torch.cat([local, tokens], dim=-1)[:, None])
        taps = [outputs[tap] for tap in self.network.architecture.taps]
        return self.network._heads(taps, images[:, None], self._attend_camera, ALL)

    def _attention(self, index: int, attention: Any, tokens: Tensor, rotation: Rotation) -> Tensor:
        batch, count, width = tokens.shape
        qkv = attention.qkv(tokens).view(batch, count, 3, attention.heads, width // attention.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        keys, values = self.across[index] = _appended(self.across[index], key, value)
        repeats = (1, 1, self.frames, 1)
        everywhere = Rotation(rotation.cosine.repeat(repeats), rotation.sine.repeat(repeats))
        keys = rotate(attention.k_norm(keys), everywhere)
        mixed = scaled_dot_product_attention(rotate(attention.q_norm(query), rotation), keys, values)
        return attention.proj(mixed.transpose(1, 2).reshape(batch, count, width))

    def _attend_camera(self, iteration: int, block: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self.cameras[block] = _appended(self.cameras[block], key, value)
            return scaled_dot_product_attention(query, *self.cameras[block])

        return attend


def _appended(kept: tuple[Tensor, Tensor] | None, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    if kept is None:
        return key, value
    return torch.cat([kept[0], key], dim=2), torch.cat([kept[1], value], dim=2)


def _official() -> tuple[Callable[[int, np.ndarray], Any], Callable[[], int]]:
    stream = OfficialStream(small_network())

    def step(number: int, image: np.ndarray) -> Any:
        return stream.step(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255))

    return step, lambda: stream.bytes


def small_cut3r() -> Cut3rNetwork:
    """CUT3R with made-up weights and heads of the linear kind."""
    network = network_without_values(lambda: Cut3rNetwork(SMALL_CUT3R))
    fill_with_made_up_weights(network.state_dict())
    return network.requires_grad_(False)


def _rule(rule: Any) -> Callable[[], Any]:
    settings = Cut3rSettings(image_size=CUT3R_SIZE, state_update=rule, reset_interval=0)
    return lambda: _online(lambda: Cut3rPredictor(CUT3R_224, "linear", settings, network=small_cut3r()))


class OfficialRoll:
    """What CUT3R's own code keeps of a clip: its `forward` the tokens of all images, which it encodes in one batch, and
    its loop over the frames the state after each of them and all outputs."""

    def __init__(self, network: Cut3rNetwork) -> None:
        self.network, self.state = network, network.initial_state()
        self.kept: list[Tensor] = []

    def step(self, number: int, image: Tensor) -> Tensor:
        """The pose of frame `number`, `image` (1, 3, H, W) in [-1, 1]."""
        views = self.network.encode_images(image)
        step = self.network.step(views, self.state, is_first=number == 0)
        found = self.network.predict(step, views, Outputs())
        self.state = step.state
        kept = (views.tokens, step.state.features, step.state.memory, *vars(found).values())
        self.kept += [value for value in kept if isinstance(value, Tensor)]
        return found.pose

    @property
    def bytes(self) -> int:
        """Kept between frames."""
        return sum(value.numel() * value.element_size() for value in self.kept)


def _official_cut3r() -> tuple[Callable[[int, np.ndarray], Any], Callable[[], int]]:
    roll = OfficialRoll(small_cut3r())

    def step(number: int, image: np.ndarray) -> Any:
        small = cv2.resize(image, (CUT3R_SIZE, CUT3R_SIZE), interpolation=cv2.INTER_AREA)
        with torch.inference_mode():
            return roll.step(number, torch.from_numpy(small.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1))

    return step, lambda: roll.bytes


STREAMVGGT_CASES = {
    case.name: case
    for case in (
        Case("official", _official),
        Case("all", _policy("all")),
        Case("window", _policy("window")),
        Case("frames", _policy("frames")),
        Case("tokens", _policy("tokens")),
        Case("frames, 8 bits", _policy("frames", 8)),
    )
}


CUT3R_CASES = {
    case.name: case
    for case in (
        Case("official", _official_cut3r),
        *(Case(rule, _rule(rule)) for rule in ("plain", "damped", "ttt3r", "recal3r")),
    )
}
SYSTEMS = {"streamvggt": ("StreamVGGT", STREAMVGGT_CASES), "cut3r": ("CUT3R", CUT3R_CASES)}


def predictor_case(name: str, settings: dict[str, Any]) -> Case:
    """A predictor of the table with its weights. Raises `InputError` for one that is not online."""
    if not predictor_spec(name).online:
        raise InputError(f"The predictor {name} takes whole clips; choose one that takes frame by frame.")
    return Case(name, lambda: _online(lambda: create_predictor(name, **settings)))  # type: ignore[arg-type,return-value]


def moving_image(number: int, side: int = SIZE) -> np.ndarray:
    """Frame `number` of a made-up clip, uint8 (side, side, 3): waves that wander."""
    y, x = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    phase = np.array([0.05, 0.031, 0.017]) * number
    waves = [np.sin(9 * x + 5 * p) + np.cos(7 * y - 3 * p + x * y) for p in phase]
    return (127 + 60 * np.stack(waves, axis=-1)).clip(0, 255).astype(np.uint8)


def measure(case: Case, frames: int, side: int = SIZE) -> dict[str, list[float]]:
    """Runs a case: for every `_EVERY`-th frame its number, the median CPU time of the frames since the last one, the
    bytes kept, and the largest resident memory so far."""
    step, kept = case.make()
    found: dict[str, list[float]] = {"frame": [], "seconds": [], "kept_bytes": [], "peak_bytes": []}
    seconds = []
    for number in range(frames):
        image = moving_image(number, side)
        began = time.process_time()
        step(number, image)
        seconds.append(time.process_time() - began)
        if (number + 1) % _EVERY == 0:
            found["frame"].append(number + 1)
            found["seconds"].append(float(np.median(seconds)))
            found["kept_bytes"].append(kept())
            found["peak_bytes"].append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
            seconds = []
    return found


def _in_process(system: str | None, name: str, frames: int, side: int, answers: Any) -> None:
    torch.set_num_threads(1)
    case = predictor_case(name, {}) if system is None else SYSTEMS[system][1][name]
    answers.put(measure(case, frames, side))


def measured_alone(system: str | None, name: str, frames: int, side: int) -> dict[str, list[float]]:
    """As `measure` for a case of a system or, without one, for a predictor of the table, in a process of its own, so
    that its memory is that of the case."""
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(target=_in_process, args=(system, name, frames, side, answers))
    process.start()
    while process.is_alive() and answers.empty():
        time.sleep(0.1)
    if answers.empty():
        raise InputError(f"The case {name} ended with status {process.exitcode}; its message stands above.")
    found = answers.get()
    process.join()
    return found


def draw(figures: dict[str, Any], path: Path) -> None:
    """Time per frame and memory over the frames, one line per case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, found in figures["cases"].items():
        style = {"linestyle": "--", "color": "black", "zorder": 3} if name == "official" else {}
        left.plot(found["frame"], 1000 * np.array(found["seconds"]), label=name, linewidth=1.2, **style)
        right.plot(found["frame"], np.array(found["kept_bytes"]) / 2**20, label=name, linewidth=1.2, **style)
    left.set(xlabel="frame", ylabel="CPU time per frame, ms", ylim=(0, None))
    right.set(xlabel="frame", ylabel="kept between frames, MiB", yscale="log")
    for axes in (left, right):
        axes.grid(alpha=0.2)
    left.legend(fontsize=8)
    figure.suptitle(figures["title"], fontsize=10)
    figure.savefig(path, dpi=130)


def thinned(found: dict[str, list[float]]) -> dict[str, list[float]]:
    """Every fourth sample, rounded, for a small file."""
    return {key: [round(value, 5) for value in values[3::4]] for key, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--side", type=int, default=SIZE, help="pixels of the square images")
    parser.add_argument("--system", choices=list(SYSTEMS), default="streamvggt")
    parser.add_argument("--cases", nargs="*", help="default: all of the system")
    parser.add_argument("--predictor", action="append", default=[], help="measured with its published weights")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    title, known = SYSTEMS[options.system]
    cases = {}
    for name in options.predictor or options.cases or known:
        if not options.predictor and name not in known:
            parser.error(f"{name} is no case of {options.system}; choose from: {', '.join(known)}")
        system = None if options.predictor else options.system
        cases[name] = measured_alone(system, name, options.frames, options.side)
        last = {key: values[-1] for key, values in cases[name].items()}
        print(
            f"{name}: {1000 * last['seconds']:.1f} ms, {last['kept_bytes'] / 2**20:.1f} MiB kept, "
            f"{last['peak_bytes'] / 2**20:.0f} MiB at most, at frame {last['frame']:.0f}"
        )
    what = ", ".join(options.predictor) if options.predictor else f"a small {title}"
    figures = {
        "title": f"{what}, {options.frames} frames of {options.side}x{options.side}, one thread",
        "torch": torch.__version__,
        "kept_frames": _FRAMES,
        "tokens_per_frame": _TOKENS,
        "cases": cases,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    of_cut3r = "-cut3r" if options.system == "cut3r" and not options.predictor else ""
    path = options.output / f"{date.today()}-online-memory{of_cut3r}.json"
    draw(figures, path.with_suffix(".png"))
    write_json(path, {**figures, "cases": {name: thinned(found) for name, found in cases.items()}})
    print(path)


if __name__ == "__main__":
    main()
