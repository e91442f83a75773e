"""Attributes in units of their own: what much of one is does not depend on how it is measured."""

from __future__ import annotations

import numpy as np
import pytest
from retention_worlds import features, judge, run

from models.design import read_appeal
from models.layout import Layout
from models.retention import PooledRetention
from models.scaling import FURTHEST, SETTLED, Scaling, scaled
from replay.world import build_world


def learned(values: list[float]) -> Scaling:
    scaling = Scaling()
    for value in values:
        scaling.notice("x", value)
    return scaling


def in_units(scaling: Scaling, value: float) -> float:
    return float(scaled(np.array([value]), scaling.of(["x"]))[0])


def test_a_scale_counts_in_two_standard_deviations_from_its_mean() -> None:
    values = np.random.Generator(np.random.PCG64(1)).normal(50.0, 10.0, SETTLED).tolist()
    scaling = learned(values)
    assert scaling.width("x") == pytest.approx(2.0 * np.std(values))
    assert in_units(scaling, float(np.mean(values))) == pytest.approx(0.0, abs=1e-12)


def test_a_rare_yes_is_one_more_than_a_no() -> None:
    scaling = learned([0.0] * 50 + [1.0])
    assert in_units(scaling, 1.0) - in_units(scaling, 0.0) == pytest.approx(1.0)


def test_what_has_not_varied_or_not_been_seen_says_nothing() -> None:
    assert in_units(learned([7.0] * 200), 9.0) == 0.0
    assert in_units(Scaling(), 9.0) == 0.0


def test_what_varies_late_is_still_learned_and_what_is_settled_stays() -> None:
    scaling = learned([7.0] * 200 + [8.0])
    assert in_units(scaling, 8.0) - in_units(scaling, 7.0) == pytest.approx(1.0)
    for value in range(SETTLED):
        scaling.notice("x", float(value))
    width = scaling.width("x")
    assert width > 10.0  # not that of the first two values that differed
    assert not scaling.notice("x", 1e6)
    assert scaling.settled("x") and scaling.width("x") == width


@pytest.mark.parametrize(
    "values", [(0.0, 5e-324), (0.7, 0.1 * 7), (3.0, 3.0000000001), (1.7e308, -1.7e308)]
)
def test_rounding_is_no_difference_and_all_stays_finite(values: tuple[float, float]) -> None:
    scaling, model = learned([values[n % 2] for n in range(80)]), PooledRetention()
    assert all(np.isfinite(in_units(scaling, value)) for value in values)
    for n in range(80):
        x = {"time_days": float(n), "attributes": {"x": values[n % 2]}, "appealer": f"a{n % 9}"}
        model.learn_one(x, 3)
        assert np.isfinite(model.predict_one(x))
    assert all(np.isfinite(m["wear_out"]["high"]) for m in model.summary()["moderators"])


def test_what_never_varies_costs_no_look_up_again() -> None:
    scaling = learned([7.0])
    assert not scaling.notice("x", 7.0) and not scaling.settled("x")


def test_what_is_far_beyond_all_others_counts_as_the_furthest() -> None:
    assert in_units(learned([0.0, 1.0]), 1e9) == FURTHEST


def test_names_beyond_the_limit_share_a_unit_and_bound_the_state() -> None:
    layout = Layout(kinds_max=2, attributes_max=2, groups_max=2)
    for number in range(300):
        appeal = read_appeal({"appealer": "a", "attributes": {f"n{number}": float(number % 3)}})
        layout.make_room(appeal, several_audiences=False)
        layout.notice(appeal)
    assert len(layout.scaling.state()) == 3


def test_another_unit_and_another_zero_change_nothing() -> None:
    """Of what varies over a scale; the logarithm that values go through is passed by."""
    world = build_world("brand_vs_human", 21, 400)
    said = []
    for shift, factor in ((0.0, 1.0), (-700.0, 30.0)):
        model = PooledRetention()
        for x, y in zip(features(world), world.responses.tolist(), strict=True):
            appeal = model.read(x)
            moved = appeal._replace(values=shift + factor * appeal.values)
            said.append(model.forecast_one(moved).retention)
            model.learn_one(moved, y)
    assert said[:400] == pytest.approx(said[400:], rel=1e-6)


def test_a_rate_and_what_multiplies_it_do_not_make_up_for_each_other() -> None:
    # By chance, early appeals look as if old networks wore out six times as fast.
    model, world, said = run("seasonal", 502, 3000)
    at = model.layout.at["attribute"]["network_age_years"]
    assert abs(model.layout.coefficients.mean[at + 1]) < 0.2
    error, _ = judge(world, said)
    assert error < 0.09  # .152 while attributes were taken as they came
