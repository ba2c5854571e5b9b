"""What a stream keeps of the frames it has seen: keys and values of the blocks across frames and of the camera head.

Keys are kept normalized and rotated: a frame's positions do not depend on time, so they need not be computed again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

from dynamic_predictor.networks.attention import Attend
from dynamic_predictor.streamvggt.aggregator import Observe
from dynamic_predictor.streamvggt.architecture import Architecture
from dynamic_predictor.streamvggt.cache_policies import (
    Anchors,
    chosen_tokens,
    farthest_frames,
    merge_tokens,
    token_scores,
    window_frames,
)
from dynamic_predictor.streamvggt.cache_storage import KeyValueBuffer, Scratch
from dynamic_predictor.streamvggt.camera_head import ITERATIONS
from dynamic_predictor.streamvggt.settings import CachePolicy
from scene.errors import InputError

#: with "auto", frames up to which nothing is forgotten
SHORT_CLIP = 24
#: share of the kept frames that can be anchors, and the most of them where tokens are kept
_ANCHOR_SHARE = 4
_MOST_TOKEN_ANCHORS = 3


@dataclass(frozen=True)
class CacheRules:
    """How much a stream keeps.

    `policy`: "all" frames; a "window" of the first and the latest, together `frames`; those `frames` that differ most;
    `tokens` per block; "auto": all up to `SHORT_CLIP` frames, then as "frames". `bits`: see `KeyValueBuffer`.
    `shares_camera_cache`: the official behavior, in which all refinements of the camera head share one cache, so that
    each attends also to earlier refinements; otherwise each has its own, and a stream gives the poses of the causal
    network.
    """

    policy: CachePolicy = "auto"
    frames: int = 16
    tokens: int = 8192
    bits: int = 0
    shares_camera_cache: bool = False


class StreamCache:
    """The memory of B streams that go on together. Keeps the contract of `network.StreamingCache`."""

    def __init__(self, architecture: Architecture, rules: CacheRules) -> None:
        self.rules = rules
        self._scratch = Scratch()
        self.frames_seen = 0
        whole = "frames" if rules.policy in ("auto", "tokens") else rules.policy
        if rules.policy == "tokens":
            self._across: FrameGroup | TokenGroup = TokenGroup(architecture.depth, rules, self._scratch)
        else:
            self._across = FrameGroup(architecture.depth, whole, rules, self._scratch)
        caches = 1 if rules.shares_camera_cache else ITERATIONS
        self._camera_blocks = architecture.camera_depth
        self._cameras = FrameGroup(caches * architecture.camera_depth, whole, rules, self._scratch)
        self._anchors: list[Anchors] = []

    @property
    def is_empty(self) -> bool:
        """No frame has been seen yet."""
        return self.frames_seen == 0

    @property
    def bytes(self) -> int:
        """Allocated memory, without what is used while decoding."""
        return self._across.bytes + self._cameras.bytes

    @property
    def kept_frames(self) -> np.ndarray:
        """Numbers of the frames that are kept, in any order, (blocks, B, n); of tokens, those of their frames."""
        return self._across.numbers

    @property
    def anchor_frames(self) -> list[list[int]]:
        """Numbers of the anchors of each clip."""
        return [list(anchors.frames) for anchors in self._anchors]

    def attend(self, block: int, observe: Observe | None = None) -> Attend:
        """See `aggregator.FrameCache`."""
        return self._across.attend(block, observe)

    def weigh(self, block: int, residual: Tensor) -> None:
        """See `aggregator.FrameCache`."""
        if isinstance(self._across, TokenGroup):
            self._across.weigh(block, residual)

    def attend_camera(self, iteration: int, block: int) -> Attend:
        """Attention of a block of the camera head in one of its refinements."""
        cache = 0 if self.rules.shares_camera_cache else iteration
        return self._cameras.attend(cache * self._camera_blocks + block)

    def finish_frame(self, quality: Tensor) -> None:
        """Ends a frame, and forgets what is too much. `quality` (B,): confidence times sharpness of the frame."""
        number = self.frames_seen
        self.frames_seen += 1
        if self.rules.policy in ("auto", "frames", "tokens"):
            prototypes = self._across.newest_prototypes()
            if not self._anchors:
                most = self._across.most_anchors()
                self._anchors = [Anchors(most) for _ in range(prototypes.shape[1])]
            for clip, (anchors, value) in enumerate(zip(self._anchors, quality.tolist(), strict=True)):
                anchors.consider(number, value, prototypes[:, clip])
        keeps_all = self.rules.policy == "auto" and self.frames_seen <= SHORT_CLIP
        self._across.finish(number, self.anchor_frames, keeps_all=keeps_all)
        self._cameras.finish(number, self.anchor_frames, keeps_all=keeps_all)

    def drop_unfinished_frame(self) -> None:
        """Forgets what blocks have kept of a frame that was stopped in the middle."""
        self._across.drop_unfinished()
        self._cameras.drop_unfinished()

    def state(self) -> dict[str, np.ndarray]:
        """Copies of everything that is kept, from which `restore` continues to the same results."""
        arrays = {"frames_seen": np.array(self.frames_seen), "clips": np.array(len(self._anchors))}
        arrays |= _prefixed("across.", self._across.state()) | _prefixed("cameras.", self._cameras.state())
        for clip, anchors in enumerate(self._anchors):
            arrays |= _prefixed(f"anchors.{clip}.", anchors.state())
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray], device: torch.device) -> None:
        """The reverse of `state`. Raises `InputError` for the state of a cache with other rules."""
        try:
            self.frames_seen = int(arrays["frames_seen"])
            self._across.restore(_without_prefix("across.", arrays), device)
            self._cameras.restore(_without_prefix("cameras.", arrays), device)
            self._anchors = [Anchors(self._across.most_anchors()) for _ in range(int(arrays["clips"]))]
            for clip, anchors in enumerate(self._anchors):
                anchors.restore(_without_prefix(f"anchors.{clip}.", arrays))
        except KeyError as error:
            raise InputError(
                f"The stored state of this stream has no {error}: it was made with another cache; start again."
            ) from error


class FrameGroup:
    """Blocks that keep whole frames: all, a window, or those that differ most."""

    def __init__(self, blocks: int, policy: str, rules: CacheRules, scratch: Scratch) -> None:
        self.policy = policy
        self.budget = rules.frames
        self._grows = rules.policy in ("all", "auto")
        self._buffers = [KeyValueBuffer(rules.bits, scratch) for _ in range(blocks)]
        #: tokens of a frame; 0 before the first one is finished
        self.size = 0
        #: number of the frame in each place (blocks, B, n)
        self.numbers = np.zeros((blocks, 1, 0), np.int64)
        self._sums: list[Tensor | None] = [None] * blocks
        #: mean keys (blocks, B, n, heads * d) of unit length, where the policy compares them
        self._prototypes: Tensor | None = None

    @property
    def bytes(self) -> int:
        """Allocated memory."""
        return sum(buffer.bytes for buffer in self._buffers)

    def most_anchors(self) -> int:
        return self.budget // _ANCHOR_SHARE

    def attend(self, block: int, observe: Observe | None = None) -> Attend:
        """Attention to the kept tokens and to those that are given, which are kept too."""
        buffer = self._buffers[block]

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            if not self._grows and not buffer.capacity:
                # the camera head's shared cache is given the tokens of a frame one by one, so its first frame grows
                buffer.capacity = (self.budget + 1) * key.shape[2]
            buffer.append(key, value)
            if self.policy == "frames":
                total, last = key.float().sum(dim=2), self._sums[block]
                self._sums[block] = total if last is None else last + total
            keys, values = buffer.read(query.dtype)
            if observe is not None:
                observe(query, keys)
            return scaled_dot_product_attention(query, keys, values)

        return attend

    def newest_prototypes(self) -> Tensor:
        """Mean keys (blocks, B, heads * d) of the frame that is not finished yet, of unit length."""
        sums = torch.stack([total for total in self._sums if total is not None])
        return normalize(sums.flatten(2), dim=-1)

    def finish(self, number: int, anchors: list[list[int]], *, keeps_all: bool) -> None:
        """Ends frame `number`, and forgets frames beyond the budget, but not the first, the newest and the `anchors` of
        each clip; with `keeps_all` none."""
        held = self.numbers.shape[2]
        self.size = self._buffers[0].length // (held + 1)
        blocks, clips = len(self._buffers), self._buffers[0].batch
        before = np.broadcast_to(self.numbers, (blocks, clips, held))
        self.numbers = np.concatenate([before, np.full((blocks, clips, 1), number)], axis=2)
        if self.policy == "frames":
            newest = self.newest_prototypes()[:, :, None]
            self._prototypes = newest if self._prototypes is None else torch.cat([self._prototypes, newest], dim=2)
            self._sums = [None] * len(self._buffers)
        if self.policy == "all" or keeps_all or held + 1 <= self.budget:
            return
        if self.policy == "window":
            kept = window_frames(self.numbers, self.budget)
        else:
            assert self._prototypes is not None
            protected = (self.numbers == 0) | (self.numbers == number)
            for clip, frames in enumerate(anchors):
                protected[:, clip] |= np.isin(self.numbers[:, clip], frames[max(0, len(frames) - self.budget + 2) :])
            flat = farthest_frames(self._prototypes.flatten(0, 1), protected.reshape(-1, held + 1), self.budget)
            kept = flat.reshape(protected.shape)
        self._compact(kept)

    def _compact(self, kept: np.ndarray) -> None:
        """Moves the kept frames (blocks, B, n) bool to the first places, which costs one move per forgotten frame."""
        order = np.broadcast_to(np.arange(self.budget), (*kept.shape[:2], self.budget)).copy()
        for block, clip in np.ndindex(*kept.shape[:2]):
            holes = np.flatnonzero(~kept[block, clip, : self.budget])
            moved = np.flatnonzero(kept[block, clip, self.budget :]) + self.budget
            order[block, clip, holes] = moved
            for hole, source in zip(holes.tolist(), moved.tolist(), strict=True):
                self._buffers[block].move(clip, source * self.size, hole * self.size, self.size)
        self.numbers = np.take_along_axis(self.numbers, order, axis=2)
        if self._prototypes is not None:
            index = torch.from_numpy(order).to(self._prototypes.device)[..., None]
            self._prototypes = self._prototypes.gather(2, index.expand(-1, -1, -1, self._prototypes.shape[3]))
        capacity = (self.budget + 1) * self.size
        for buffer in self._buffers:
            buffer.truncate(self.budget * self.size)
            buffer.shrink(capacity)

    def drop_unfinished(self) -> None:
        """See `StreamCache.drop_unfinished_frame`."""
        self._sums = [None] * len(self._buffers)
        for buffer in self._buffers:
            buffer.truncate(self.numbers.shape[2] * self.size)

    def state(self) -> dict[str, np.ndarray]:
        arrays = {"numbers": self.numbers.copy()}
        if self._prototypes is not None:
            arrays["prototypes"] = self._prototypes.cpu().numpy().copy()
        for block, buffer in enumerate(self._buffers):
            arrays |= _prefixed(f"{block}.", buffer.state())
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray], device: torch.device) -> None:
        self.numbers = np.array(arrays["numbers"])
        found = arrays.get("prototypes")
        self._prototypes = None if found is None else torch.from_numpy(np.array(found)).to(device)
        for block, buffer in enumerate(self._buffers):
            buffer.restore(_without_prefix(f"{block}.", arrays), device)
        held = self.numbers.shape[2]
        self.size = self._buffers[0].length // held if held else 0


class TokenGroup:
    """Blocks that keep a number of tokens, whatever frames they are from."""

    def __init__(self, blocks: int, rules: CacheRules, scratch: Scratch) -> None:
        self.budget = rules.tokens
        self._buffers = [KeyValueBuffer(rules.bits, scratch) for _ in range(blocks)]
        self.size = 0
        #: number of the frame of each token (blocks, B, n)
        self.numbers = np.zeros((blocks, 1, 0), np.int64)
        #: of how many tokens each is the mean (blocks, B, n)
        self._weights = torch.zeros(blocks, 1, 0)
        self._residuals: list[Tensor | None] = [None] * blocks
        self._sums: list[Tensor | None] = [None] * blocks

    @property
    def bytes(self) -> int:
        """Allocated memory."""
        return sum(buffer.bytes for buffer in self._buffers)

    def most_anchors(self) -> int:
        """As many as leave room for the first frame and a frame of others."""
        return max(0, min(_MOST_TOKEN_ANCHORS, self.budget // self.size - 2))

    def attend(self, block: int, observe: Observe | None = None) -> Attend:
        """As `FrameGroup.attend`."""
        buffer = self._buffers[block]

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self._check(key.shape[2])
            buffer.capacity = self.budget + self.size
            buffer.append(key, value)
            self._sums[block] = key.float().sum(dim=2)
            keys, values = buffer.read(query.dtype)
            if observe is not None:
                observe(query, keys)
            return scaled_dot_product_attention(query, keys, values)

        return attend

    def _check(self, size: int) -> None:
        self.size = size
        if self.budget < 2 * size:
            raise InputError(
                f"A frame of this size has {size} tokens, and a cache of {self.budget} must hold two frames; give at "
                f"least {2 * size} tokens, or smaller frames."
            )

    def weigh(self, block: int, residual: Tensor) -> None:
        """See `aggregator.FrameCache`."""
        self._residuals[block] = residual.float().norm(dim=-1)

    def newest_prototypes(self) -> Tensor:
        """As `FrameGroup.newest_prototypes`."""
        sums = torch.stack([total for total in self._sums if total is not None])
        return normalize(sums.flatten(2), dim=-1)

    def finish(self, number: int, anchors: list[list[int]], *, keeps_all: bool) -> None:
        """Ends frame `number`, and forgets tokens beyond the budget, but not those of the first frame and of the
        `anchors` of each clip. Some of the others are merged into anchors."""
        blocks, held = len(self._buffers), self.numbers.shape[2]
        clips = self._buffers[0].batch
        new = np.full((blocks, clips, self.size), number)
        self.numbers = np.concatenate([np.broadcast_to(self.numbers, (blocks, clips, held)), new], axis=2)
        device = self._weights.device if held else self._buffers[0].device
        ones = torch.ones(blocks, clips, self.size, device=device)
        self._weights = torch.cat([self._weights.to(device).expand(blocks, clips, held), ones], dim=2)
        if held + self.size <= self.budget:
            return
        is_anchor = np.stack([np.isin(self.numbers[:, clip], frames) for clip, frames in enumerate(anchors)], axis=1)
        protected = torch.from_numpy((self.numbers == 0) | is_anchor).to(device)
        orders, weights = [], []
        for block, buffer in enumerate(self._buffers):
            order, kept_weights = self._choose(block, buffer, protected[block], is_anchor[block])
            orders.append(order)
            weights.append(kept_weights)
        self._weights = torch.stack(weights)
        self.numbers = np.take_along_axis(self.numbers, torch.stack(orders).cpu().numpy(), axis=2)

    def drop_unfinished(self) -> None:
        """See `StreamCache.drop_unfinished_frame`."""
        for buffer in self._buffers:
            buffer.truncate(self.numbers.shape[2])

    def _choose(
        self, block: int, buffer: KeyValueBuffer, protected: Tensor, is_anchor: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Keeps the budget of one block. Returns the places (B, n) that are kept and their weights (B, n)."""
        residuals = self._residuals[block]
        assert residuals is not None
        keys, values = buffer.read(torch.float32)
        scores = token_scores(keys, residuals, ~protected)
        kept, merged = chosen_tokens(scores, protected, self.budget)
        weights = self._weights[block].clone()
        for clip in range(len(kept)):
            targets = np.flatnonzero(is_anchor[clip])
            if len(targets) and merged.shape[1]:
                places = torch.from_numpy(targets).to(keys.device)
                mean_keys, mean_values, total = merge_tokens(
                    keys[clip], values[clip], weights[clip], places, merged[clip]
                )
                buffer.replace(clip, places, mean_keys, mean_values)
                weights[clip, places] = total
        buffer.keep(kept)
        return kept, weights.gather(1, kept)

    def state(self) -> dict[str, np.ndarray]:
        arrays = {"numbers": self.numbers.copy(), "weights": self._weights.cpu().numpy().copy()}
        arrays["size"] = np.array(self.size)
        for block, buffer in enumerate(self._buffers):
            arrays |= _prefixed(f"{block}.", buffer.state())
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray], device: torch.device) -> None:
        self.numbers = np.array(arrays["numbers"])
        self.size = int(arrays["size"])
        self._weights = torch.from_numpy(np.array(arrays["weights"])).to(device)
        for block, buffer in enumerate(self._buffers):
            buffer.capacity = self.budget + self.size
            buffer.restore(_without_prefix(f"{block}.", arrays), device)


def _prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {prefix + key: value for key, value in arrays.items()}


def _without_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
