"""Plans agree with brute force, with the closed forms, and with common sense."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.plan import AskAgain, Plan, plan_cadence, rest_needed

OWN_ONLY = [0.25, 0.0, 0.0]
THREE_WEEKS = [21.0, 21.0, 21.0]


def plan(every_days: list[float], wear: object = OWN_ONLY, **more: object) -> Plan:
    given: dict[str, object] = {
        "horizon_days": 180.0,
        "first_responses": 100.0,
        "stocks": [0.0, 0.0, 0.0],
        "wear": wear,
        "half_lives_days": THREE_WEEKS,
        "dispersion": 10.0,
        "rng": np.random.default_rng(1),
        **more,
    }
    return plan_cadence(every_days, **given)  # type: ignore[arg-type]


def rest(strains: list[float], log_sd: float = 0.0, **more: float) -> AskAgain | None:
    return rest_needed(strains, THREE_WEEKS, log_sd, [log_sd] * 3, **more)


def test_the_rest_is_over_when_retention_is_back() -> None:
    strains, half_lives = np.array([0.4, 0.1, 0.2]), np.array([20.0, 7.0, 50.0])
    again = rest_needed(strains, half_lives, 0.0, np.zeros(3), target=0.9)
    assert again is not None and again.low == again.days == again.high
    left = strains * np.exp2(-again.days / half_lives)
    assert math.exp(-float(left.sum())) == pytest.approx(0.9, abs=1e-9)


def test_no_rest_is_needed_where_nothing_is_felt() -> None:
    assert rest([0.05, 0.0, 0.0]) == (0.0, 0.0, 0.0)


def test_no_rest_helps_where_it_would_take_years() -> None:
    assert rest_needed([5.0, 0.0, 0.0], [600.0, 21.0, 21.0], 0.1, [0.1] * 3) is None


def test_a_longer_history_and_a_higher_target_never_shorten_the_rest() -> None:
    days = [again.days for s in (0.25, 0.5, 1.0) if (again := rest([s, 0.0, 0.0])) is not None]
    assert days == sorted(days) and len(days) == 3
    sooner = rest([0.5, 0.0, 0.0], target=0.7)
    assert sooner is not None and sooner.days < days[1]


def test_the_interval_of_the_date_is_that_of_draws() -> None:
    """Solved for draws of strains and half-lives, nine in ten lie within what moments say."""
    rng, sd = np.random.default_rng(2), 0.1
    drawn = [
        rest_needed([0.75 * math.exp(rng.normal(0, sd)), 0.0, 0.0], half_lives, 0.0, np.zeros(3))
        for half_lives in np.array(THREE_WEEKS) * np.exp(rng.normal(0.0, sd, (2000, 3)))
    ]
    days = [again.days for again in drawn if again is not None]
    said = rest([0.75, 0.0, 0.0], sd)
    assert said is not None
    assert np.quantile(days, (0.05, 0.95)) == pytest.approx((said.low, said.high), rel=0.05)


def test_totals_agree_with_adding_up_ask_by_ask() -> None:
    stocks = np.array([1.5, 1.0, 3.0])
    wear, half_lives = np.array([0.2, 0.1, 0.05]), np.array([20.0, 10.0, 5.0])
    total, felt = 0.0, stocks.copy()
    for _ in range(26):
        total += 100.0 * math.exp(-float(wear @ felt))
        felt[:2] = (felt[:2] + 1.0) * np.exp2(-7.0 / half_lives[:2])
    found = plan([7.0], wear, stocks=stocks, half_lives_days=half_lives).best
    assert found.asks == 26
    assert found.expected == pytest.approx(total, rel=1e-9)
    assert found.per_ask == pytest.approx(total / 26)


def test_the_best_cadence_is_about_where_theory_has_it() -> None:
    """In the long run (1/d) exp(-wear h / (d ln 2)) is greatest at d = wear h / ln 2, 7.6 days."""
    found = plan([1.0, 2.0, 4.0, 7.5, 15.0, 30.0, 60.0], horizon_days=2000.0)
    assert found.best.every_days == 7.5
    assert found.best.best_share == 1.0
    assert "may lie beyond" not in found.note


def test_without_wear_out_more_is_more_and_the_note_says_so() -> None:
    found = plan([3.0, 7.0, 14.0], [0.0, 0.0, 0.0])
    assert found.best.every_days == 3.0 and found.best.per_ask == pytest.approx(100.0)
    assert "may lie beyond" in found.note


def test_the_interval_covers_the_count_to_come() -> None:
    """A world drawn from the same posterior falls into 90 % of the intervals, give or take."""
    rng = np.random.default_rng(3)
    wear = np.array(OWN_ONLY) * np.exp(rng.normal(0.0, 0.3, (2000, 1)))
    found = plan([7.0], wear, first_responses=rng.gamma(20.0, 5.0, 2000)).best
    inside = 0
    for _ in range(200):
        rate, first = 0.25 * math.exp(rng.normal(0.0, 0.3)), rng.gamma(20.0, 5.0)
        felt, count = 0.0, 0
        for _ in range(found.asks):
            count += rng.poisson(first * math.exp(-rate * felt) * rng.gamma(10.0, 0.1))
            felt = (felt + 1.0) * 2.0 ** (-7.0 / 21.0)
        inside += found.low <= count <= found.high
    assert 160 <= inside <= 198  # Binomial(200, .9): five sd either way, and no more than all


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan([3.0, 7.0]) == plan([3.0, 7.0])


@pytest.mark.parametrize(
    "more",
    [
        {"horizon_days": 0.0},
        {"horizon_days": math.inf},
        {"first_responses": math.nan},
        {"stocks": [-1.0, 0.0, 0.0]},
        {"stocks": [1.0, 0.0]},
        {"half_lives_days": [0.0, 1.0, 1.0]},
        {"dispersion": 0.0},
        {"wear": [math.inf, 0.0, 0.0]},
    ],
)
def test_refuses_what_cannot_be_planned(more: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        plan([7.0], **more)
    with pytest.raises(ValueError):
        plan([0.0])
    with pytest.raises(ValueError):
        rest([1.0, 0.0, 0.0], target=1.0)
