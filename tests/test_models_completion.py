"""The age grid and the completion curve."""

from __future__ import annotations

import pytest

from models.ages import AgeGrid

MINUTE_MS = 60_000
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    "horizon_ms",
    [MINUTE_MS, MINUTE_MS + 1, 100_003, 3_600_000, DAY_MS, 7 * DAY_MS, 30 * DAY_MS, 730 * DAY_MS],
)
def test_grid_tiles_the_ages(horizon_ms: int) -> None:
    grid = AgeGrid(horizon_ms)
    starts = [grid.start_ms(slot) for slot in range(grid.slots + 1)]
    assert starts[0] == 0 and starts[-1] == horizon_ms
    assert all(a < b for a, b in zip(starts, starts[1:], strict=False))
    for slot in range(grid.slots):
        assert grid.slot(starts[slot]) == slot
        assert grid.slot(starts[slot + 1] - 1) == slot
    assert 1900 <= grid.slots <= 2100
    assert list(grid.edges_slot) == sorted(set(grid.edges_slot))
    assert grid.edges_slot[0] == 1 and grid.edges_slot[-1] == grid.slots
    assert grid.edges_ms == tuple(starts[slot] for slot in grid.edges_slot)


@pytest.mark.parametrize("horizon_ms", [MINUTE_MS, 3_600_000, 7 * DAY_MS, 730 * DAY_MS])
def test_checkpoints_double_the_age(horizon_ms: int) -> None:
    grid = AgeGrid(horizon_ms)
    assert len(set(grid.checkpoints)) == 10
    assert grid.checkpoints[-1] == grid.bins
    for k, bins in zip(range(9, -1, -1), grid.checkpoints, strict=True):
        assert grid.edges_ms[bins - 1] == pytest.approx(horizon_ms / 2**k, rel=0.06)


@pytest.mark.parametrize("horizon_ms", [0, -5, 59_999, 1e6, True, float("nan")])
def test_grid_refuses_what_is_no_horizon(horizon_ms: int) -> None:
    with pytest.raises(ValueError, match="horizon_ms: expected"):
        AgeGrid(horizon_ms)
