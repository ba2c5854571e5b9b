"""The recipe of DAS3R's training: a two-view network, pairs of frames from clips with tracks, and its losses."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor, nn

from dynamic_predictor.das3r.network import TwoViewNetwork
from dynamic_predictor.das3r.official_layout import save_pth
from dynamic_predictor.training.processes import Process
from dynamic_predictor.training.recipe import Update, Validation
from dynamic_predictor.training.tracked_clips import TrackedClip
from dynamic_predictor.training.two_view.pair_batches import PairBatch, batches, steps_per_epoch, validation_batches
from dynamic_predictor.training.two_view.settings import TrainingSettings
from dynamic_predictor.training.two_view.step import PairPredictions, accumulate_gradients, select_trainable
from dynamic_predictor.training.two_view.validation import validate
from scene.errors import InputError


class TwoViewRecipe:
    """Training of `network` on pairs from `clips`, tested on `test_clips`."""

    unit = "pairs"
    skips_parameters = False
    best_score = "mask_iou"

    def __init__(
        self,
        network: TwoViewNetwork,
        clips: Sequence[TrackedClip],
        test_clips: Sequence[TrackedClip],
        settings: TrainingSettings,
    ) -> None:
        self.network, self.settings = network, settings
        self._clips, self._test_clips = clips, test_clips

    def prepare(self, process: Process) -> nn.Module:
        self.network.to(process.device).train()
        if not select_trainable(self.network, self.settings):
            raise InputError(
                "With these settings nothing is trained: the network has no mask heads, the rest is frozen."
            )
        return PairPredictions(self.network, self.settings)

    def blocks(self) -> Iterable[nn.Module]:
        network = self.network
        heads = (module for name, module in network.named_children() if name.startswith("downstream_head"))
        return (*network.enc_blocks, *network.dec_blocks, *network.dec_blocks2, *heads)

    def steps_per_epoch(self, processes: int) -> int:
        return steps_per_epoch(self.settings, processes)

    def batches(self, epoch: int, process: Process, *, first_step: int, workers: int) -> Iterator[list[PairBatch]]:
        return batches(
            self._clips,
            self.settings,
            epoch,
            rank=process.rank,
            world_size=process.world_size,
            first_step=first_step,
            workers=workers,
        )

    def updates(self, model: nn.Module, parts: list[PairBatch], process: Process) -> Iterator[Update]:
        parts = [part.to(process.device) for part in parts]
        yield Update(accumulate_gradients(model, parts, self.settings, process))

    def validate(self, model: nn.Module, process: Process, *, workers: int) -> Validation | None:
        if not self._test_clips:
            return None
        pairs = validation_batches(
            self._test_clips, self.settings, rank=process.rank, world_size=process.world_size, workers=workers
        )
        assert isinstance(model, PairPredictions)
        return validate(model, pairs, self.settings, process)

    def save(self, path: Path, state: dict[str, Tensor], **extras: object) -> None:
        save_pth(self.network, path, state=state, **extras)
