"""Summaries of latencies."""

import numpy as np

from dynamic_predictor.driver.latency import LiveRecord, median_and_tail


class _Source:
    dropped = 3

    def age(self, time: float) -> float:
        return 10.0 - time


def test_a_record_is_the_age_of_each_frame_when_its_result_is_there():
    record = LiveRecord(_Source(), "latest")  # type: ignore[arg-type]
    assert record.summary() == {"policy": "latest", "frames": 0, "dropped": 3, "latency_seconds": None}
    assert record.sentence() == "3 dropped"
    times = np.linspace(9.0, 9.9, 101)
    record.note(times.tolist())
    summary = record.summary()
    assert summary["frames"] == 101
    assert summary["latency_seconds"] == {"median": 0.55, "percentile_95": 0.955}
    assert record.sentence() == "latency 0.10 s, 3 dropped"
    assert median_and_tail([]) is None
