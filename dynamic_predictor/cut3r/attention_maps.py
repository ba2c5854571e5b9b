"""Maps of the cross-attention between state and view, for each layer, from which motion can be read (Easi3R, Chen et
al., 2025)."""

from collections.abc import Callable

from torch import Tensor

from dynamic_predictor.cut3r.network import Side
from dynamic_predictor.networks.attention import AttentionObserver
from dynamic_predictor.networks.attention_statistics import attention_received, mean_logits


class AttentionMaps:
    """A `DecoderObserver` that keeps, for each layer, one number per token of the view; off unless it is given to
    `Cut3rNetwork.step`. The pose token is left out; maps are (B, N) in reading order of the patches."""

    def __init__(self) -> None:
        #: softmax weight that a token receives from the state, mean over heads and the state's tokens
        self.received: list[Tensor] = []
        #: logit with which the state's tokens ask for a token, mean over heads and the state's tokens
        self.asked: list[Tensor] = []
        #: logit with which a token asks for the state's tokens, mean over heads and the state's tokens
        self.asking: list[Tensor] = []

    def layer(self, side: Side, index: int) -> AttentionObserver | None:
        """Keeps the statistics of the cross-attention of one side in one layer."""
        observe: dict[Side, Callable[[Tensor, Tensor], None]] = {"state": self._of_state, "view": self._of_view}
        return observe[side]

    def _of_state(self, query: Tensor, key: Tensor) -> None:
        self.received.append(attention_received(query, key)[:, 1:])
        self.asked.append(mean_logits(key, query)[:, 1:])

    def _of_view(self, query: Tensor, key: Tensor) -> None:
        self.asking.append(mean_logits(query, key)[:, 1:])
