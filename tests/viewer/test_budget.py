"""What is kept of a stream never exceeds the limits, however long it is."""

from viewer.budget import Budget


def test_frames_and_points_stay_within_their_limits():
    budget = Budget(frames=100, points=50_000, points_per_frame=1_000)
    for count in (1, 50, 100, 101, 200, 201, 5_000, 10**6):
        stride = budget.stride(count)
        kept = len(range(0, count, stride))
        assert kept <= 100 and kept * budget.points_each(kept) <= 50_000
        assert stride == 1 or kept > 50  # not coarser than needed
    assert budget.points_each(50) == 1_000 and budget.points_each(51) == 500


def test_a_longer_stream_keeps_a_part_of_what_was_kept_before():
    budget = Budget(frames=7)
    before = set(range(1000))
    for count in range(1, 1000):
        kept = set(range(0, count, budget.stride(count)))
        assert kept - {count - 1} <= before
        before = kept
