"""What moderators do to wear-out: bent, not cut off, so that what has run away comes back."""

from __future__ import annotations

import numpy as np
import pytest
from retention_worlds import judge, run

from models.rows import MODERATION_FREE, moderation

NONE = np.array([], dtype=np.int64)


def moderated(total: float) -> tuple[float, float]:
    """Return the log of the factor, and its slope, where moderators add up to `total`."""
    factor, slope = moderation(np.array([0.0, total]), 0, NONE, np.array([]))
    return float(np.log(factor)), slope


@pytest.mark.parametrize("total", [-9.0, -1.6, -1.0, 0.0, 0.7, 1.4, 1.7, 3.0, 9.0])
def test_the_slope_is_that_of_the_factor(total: float) -> None:
    step = 1e-6
    rise = (moderated(total + step)[0] - moderated(total - step)[0]) / (2.0 * step)
    assert moderated(total)[1] == pytest.approx(rise, rel=1e-6)


def test_moderators_count_in_full_until_they_bend_and_never_stop_to_count() -> None:
    totals = np.linspace(-12.0, 12.0, 97)
    logs, slopes = np.transpose([moderated(total) for total in totals])
    free = np.abs(totals) <= MODERATION_FREE
    assert logs[free] == pytest.approx(totals[free])
    assert np.all(np.diff(logs) > 0.0)
    assert slopes.min() > 0.02
    assert np.abs(logs).max() < 2.7  # of attributes in the wrong unit: a factor of fifteen at most


def test_a_moderator_that_has_run_away_comes_back() -> None:
    # By chance, early appeals look as if old networks wore out ten times as fast: .8 a year.
    model, world, said = run("surge", 606, 3000)
    at = model.layout.at["attribute"]["network_age_years"]
    assert abs(model.layout.coefficients.mean[at + 1]) < 0.2
    error, _ = judge(world, said)
    assert error < 0.09  # .145 while what lay beyond a limit taught nothing
