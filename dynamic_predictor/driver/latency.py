"""How long a frame of a live source takes from its capture to its result."""

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from dynamic_predictor.driver.live_source import LivePolicy, LiveSource


class LiveRecord:
    """Latencies and drops of one live source; 8 bytes per frame."""

    def __init__(self, source: LiveSource, policy: LivePolicy) -> None:
        self._source, self._policy = source, policy
        self._seconds = array("d")

    def note(self, times: Sequence[float]) -> None:
        """The frames with these times in seconds have their result now."""
        self._seconds.extend(self._source.age(time) for time in times)

    def sentence(self) -> str:
        """For the line of progress."""
        last = f"latency {self._seconds[-1]:.2f} s, " if self._seconds else ""
        return f"{last}{self._source.dropped} dropped"

    def summary(self) -> dict[str, Any]:
        """What a scene records."""
        return {
            "policy": self._policy,
            "frames": len(self._seconds),
            "dropped": self._source.dropped,
            "latency_seconds": median_and_tail(self._seconds),
        }


def median_and_tail(seconds: Sequence[float]) -> dict[str, float] | None:
    """The median and the 95th percentile, rounded to milliseconds; None of nothing."""
    if not len(seconds):
        return None
    median, tail = np.percentile(np.asarray(seconds), [50, 95])
    return {"median": round(float(median), 3), "percentile_95": round(float(tail), 3)}
