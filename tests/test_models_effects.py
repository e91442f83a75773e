"""What units owe to coefficients, moved in one pass, against the formula in whole arrays."""

from __future__ import annotations

import numpy as np
import pytest

from models.effects import BLANK, Effects

UNITS, CAPACITY = 7, 16


def filled(seed: int, units_max: int = 100) -> Effects:
    """Effects of some units, each owing something to a third of the coefficients."""
    rng, effects = np.random.default_rng(seed), Effects(units_max, (0.5, 0.2))
    effects.fit(CAPACITY)
    for unit in range(UNITS):
        row = effects.touch(f"u{unit}", float(unit))
        effects.mean[row] = rng.normal(size=2)
        owed = rng.normal(size=(2, CAPACITY)) * (rng.random(CAPACITY) < 0.3)
        effects.loading[row] = owed
    return effects


@pytest.mark.parametrize("seed", range(5))
def test_moving_says_one_coefficient_by_another(seed: int) -> None:
    effects, source, target = filled(seed), 3, 9
    mean, loading = effects.mean.copy(), effects.loading.copy()
    covariance = effects.covariance.copy()
    effects.move(source, target, 0.7, -0.2, 0.04)
    owed = loading[:, :, source].copy()
    loading[:, :, target] += 0.7 * owed
    loading[:, :, source] = 0.0
    assert np.array_equal(effects.loading, loading)
    assert np.array_equal(effects.mean, mean - 0.2 * owed)
    assert np.array_equal(
        effects.covariance, covariance + 0.04 * owed[:, :, None] * owed[:, None, :]
    )


def test_a_new_unit_is_what_is_expected_of_one_whoever_made_room() -> None:
    effects = filled(1, units_max=UNITS)
    effects.expect((0.3, 0.1))
    for key in ("new", "u1"):
        row = effects.touch(key, 9.0)
        expected = (0.3, 0.1) if key == "new" else (0.5, 0.2)
        assert effects.prior_sds[row].tolist() == list(expected)
        assert effects.covariance[row].tolist() == np.diag(np.square(expected)).tolist()
    new = effects.find("new")
    assert (effects.evicted, effects.find("u0")) == (1, BLANK)
    assert not effects.loading[new].any()
    assert not effects.mean[new].any()
    assert (effects.appeals[new], effects.last_days[new]) == (1, 9.0)
    assert effects.find("nobody") == BLANK
