"""Comparisons on real events: regressions that find what was put in, where naive rates are fooled,
and log scores that nobody gets for nothing."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from replay.cli_evaluate import register
from replay.compare import BATCH, BATCH_REFITTED, MODEL, compare_models, learn_from
from replay.compare_curves import poisson_regression, why_not_within, within_units
from replay.compare_fit import batch_log_scores, dispersion_of, log_probability
from replay.compare_table import LearnedTable
from replay.reader import read_lines
from replay.simulate import write_simulation
from streams.settings import ConfigError, Settings

REPEATS = np.arange(2, 12)


def generator(seed=1):
    return np.random.Generator(np.random.PCG64(seed))


def table_of(time_days, unit, repeat, mean, responses, kind=None, attributes=None):
    """A table whose columns are given; exposure is 1000 throughout."""
    n = len(time_days)
    unit = np.asarray(unit, dtype=np.int64)
    attributes = np.zeros((n, 0)) if attributes is None else attributes
    return LearnedTable(
        time_days=np.asarray(time_days, dtype=float),
        exposure=np.full(n, 1000.0),
        responses=np.asarray(responses, dtype=float),
        repeat=np.asarray(repeat, dtype=np.int64),
        kind_repeat=np.asarray(repeat, dtype=np.int64),
        kind=np.zeros(n, dtype=np.int64) if kind is None else kind,
        appealer=unit,
        unit=unit,
        cluster=unit,
        stocks=np.zeros((n, 3)),
        attributes=attributes,
        attribute_names=[f"x{i}" for i in range(attributes.shape[1])],
        clustered_by="appealer",
        log_scores={MODEL: log_probability(np.asarray(responses, dtype=float), mean, 1e4)},
    )


def falling_calendar(seed=1, retention=1.0):
    """Asking began with the fall of everything: rates halve over the year as repeats go up."""
    rng = generator(seed)
    unit = np.repeat(np.arange(300), 6)
    repeat = np.tile(np.arange(1, 7), 300)
    start = rng.uniform(0.0, 150.0, 300)
    time_days = start[unit] + 35.0 * (repeat - 1)
    mean = 20.0 * np.exp(-time_days / 150.0) * retention ** (repeat - 1)
    order = np.argsort(time_days, kind="stable")
    return table_of(
        time_days[order], unit[order], repeat[order], mean[order], rng.poisson(mean[order])
    )


def good_ones_are_asked_more(seed=1, retention=0.9):
    """How often a unit is asked grows with its level; each repeat gets .9 of the last one."""
    rng = generator(seed)
    level = rng.normal(0.0, 0.7, 400)
    asked = np.clip(np.round(3.0 * np.exp(level)), 1, 12).astype(int)
    unit = np.repeat(np.arange(400), asked)
    repeat = np.concatenate([np.arange(1, n + 1) for n in asked])
    time_days = rng.uniform(0.0, 300.0, 400)[unit] + repeat
    mean = 10.0 * np.exp(level[unit]) * retention ** (repeat - 1)
    return table_of(time_days, unit, repeat, mean, rng.poisson(mean))


def dummies(table):
    return (np.minimum(table.repeat, 11)[:, None] == REPEATS).astype(float)


def months(table):
    return (table.time_days // 30.4375)[:, None] == np.arange(1.0, 14.0)


def test_the_calendar_fools_naive_rates_and_not_the_adjusted_ones():
    table = falling_calendar()
    naive = poisson_regression(table, dummies(table), overdispersed=False)
    adjusted = poisson_regression(table, np.hstack([dummies(table), months(table)]))
    # By the sixth the calendar alone has taken two thirds.
    assert np.exp(naive.coefficients[4]) < 0.45
    assert np.abs(adjusted.coefficients[:5] / adjusted.sds[:5]).max() < 4.0
    assert np.abs(adjusted.coefficients[:5]).max() < 0.15


def test_only_units_compared_with_themselves_show_what_survivors_hide():
    table = good_ones_are_asked_more()
    naive = poisson_regression(table, dummies(table), overdispersed=False)
    within = within_units(table, dummies(table))
    truth = np.log(0.9) * np.arange(1, 6)
    assert (naive.coefficients[:5] - truth).min() > 0.1
    assert np.abs((within.coefficients[:5] - truth) / within.sds[:5]).max() < 4.0
    assert within.sds[:5].max() < 0.1


def test_intervals_of_adjusted_ratios_hold_as_often_as_they_say():
    inside = total = 0
    for seed in range(30):
        table = falling_calendar(seed, retention=0.95)
        fit = poisson_regression(table, np.hstack([dummies(table), months(table)]))
        z = (fit.coefficients[:5] - np.log(0.95) * np.arange(1, 6)) / fit.sds[:5]
        inside += int((np.abs(z) < 1.645).sum())
        total += 5
    # Five repeats of a seed hang together: as if of 30 draws at the worst, 27 expected, sd 1.6.
    assert 0.73 <= inside / total <= 1.0


def test_no_comparison_within_those_whose_answer_ends_the_asking():
    n = 200
    unit, repeat = np.repeat(np.arange(n), 3), np.tile([1, 2, 3], n)
    answers = (repeat == 3).astype(float)
    once = table_of(np.arange(3 * n), unit, repeat, np.full(3 * n, 0.3), answers)
    assert "not asked again" in why_not_within(once)
    assert "fewer than" in why_not_within(once._replace(responses=np.zeros(3 * n)))
    assert why_not_within(once._replace(responses=np.ones(3 * n))) is None


def test_dispersion_is_found_again():
    rng = generator(3)
    mean = rng.uniform(5.0, 50.0, 4_000)
    for phi in (0.5, 5.0):
        counts = rng.poisson(mean * rng.gamma(phi, 1.0 / phi, 4_000))
        assert dispersion_of(counts, mean) == pytest.approx(phi, rel=0.1)
    assert dispersion_of(rng.poisson(mean), mean) > 200.0


def test_the_batch_regression_learns_what_there_is_and_nothing_from_noise():
    rng = generator(4)
    n = 3_000
    signal, noise = rng.normal(0.0, 1.0, n), rng.normal(0.0, 1.0, n)
    mean = 20.0 * np.exp(0.6 * signal)
    counts = rng.poisson(mean)
    unit = rng.integers(0, 30, n)
    for column, lost in ((signal, 0.05), (noise, None)):
        table = table_of(
            np.linspace(0.0, 300.0, n),
            unit,
            rng.integers(1, 8, n),
            mean,
            counts,
            attributes=column[:, None],
        )
        ours = table.log_scores[MODEL][n // 2 :]
        scores = batch_log_scores(table, n // 2)
        assert scores.shape == ours.shape
        if lost is not None:
            assert 0.0 <= (ours - scores).mean() < lost  # nobody beats the truth
        else:
            known, unknown = counts[: n // 2].astype(float), counts[n // 2 :].astype(float)
            flat = np.full(n // 2, known.mean())
            null = log_probability(unknown, flat, dispersion_of(known, flat))
            assert scores.mean() == pytest.approx(null.mean(), abs=0.03)


def test_the_batch_regression_knows_nothing_of_what_comes_later():
    table = falling_calendar()
    half = table.appeals // 2
    responses = table.responses.copy()
    responses[half + 100 :] = 0.0
    changed = batch_log_scores(table._replace(responses=responses), half)
    assert np.array_equal(batch_log_scores(table, half)[:100], changed[:100])


@pytest.fixture(autouse=True, scope="module")
def few_refits():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replay.compare.REFITS", 2)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_simulation("seasonal", 5, 150, tmp_path_factory.mktemp("world")).events


@pytest.fixture(scope="module")
def comparison(world):
    return compare_models(learn_from({"events": read_lines(str(world))}, Settings())[0])


def test_log_scores_cover_every_model_and_every_appeal(comparison):
    scores = comparison.log_scores
    assert {MODEL, "always_as_new", BATCH, BATCH_REFITTED} <= set(scores)
    assert scores[MODEL]["all"]["log_score"].n == comparison.appeals
    assert scores[MODEL]["all"]["ahead"].value == 0.0
    for parts in scores.values():
        later = parts["later"]
        assert later["log_score"].n == comparison.later
        ours = scores[MODEL]["later"]["log_score"].value
        assert later["ahead"].value == pytest.approx(ours - later["log_score"].value, abs=1e-9)


def test_curves_have_a_row_a_repeat(comparison):
    for rows in comparison.curves.values():
        assert [row["repeat"] for row in rows] == list(range(2, 11))
        second = rows[0]
        for name in ("naive", "adjusted", "model"):
            assert second[name].low < second[name].value < second[name].high


def test_the_command_writes_figures_and_plots(world, tmp_path):
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    arguments = ["evaluate", str(world), "--out", str(tmp_path), "--quiet"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "askagain ahead" in result.output
    content = json.loads((tmp_path / "evaluate.json").read_bytes())
    assert content["log_scores"][BATCH]["later"]["ahead"]["n"] == content["later"]
    assert (tmp_path / "retention-own.png").stat().st_size > 10_000


def test_too_few_appeals_are_refused(tmp_path):
    events = write_simulation("classic", 1, 20, tmp_path).events
    with pytest.raises(ConfigError, match="at least 50 appeals"):
        learn_from({"events": read_lines(str(events))}, Settings())
