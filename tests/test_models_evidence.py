"""The evidence is a test martingale under its null, has the power promised, and restarts."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.absorb import absorb, absorb_row, gaussian_about_mode
from models.alternatives import ROWS, log_mixtures, log_retention_rows, mean_retention
from models.evidence import HALF_LIFE_NODES, KindEvidence, SeriesEvidence, survivors_factor
from models.stock import HALF_LIVES_DAYS

Retention = Callable[[NDArray[np.float64]], NDArray[np.float64]]
HALF_LIVES = HALF_LIVES_DAYS[HALF_LIFE_NODES]
BASELINE_SD = 0.5


def stocks_of(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the stocks before each appeal, shape (appeals, 3)."""
    gaps = times[:, None] - times[None, :]
    felt = np.exp2(-np.maximum(gaps, 0.0)[..., None] / HALF_LIVES) * (gaps > 0.0)[..., None]
    return felt.sum(axis=1)


def fresh(times: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones(times.size)


def decay(times: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-0.25 * stocks_of(times)[:, 1])


def rise(times: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.arange(times.size) >= 4, 2.5, 1.0)


def series(
    rng: np.random.Generator, retention: Retention, phi: float, appeals: int, decline: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.int64], float, NDArray[np.float64]]:
    """Return times, responses, expected_first and true retention of one series, a week apart.

    decline : what each appeal loses on the log scale, rest or no rest.
    """
    times = np.cumsum(rng.exponential(7.0, appeals))
    expected = math.exp(rng.normal(math.log(100.0), 0.8))
    true = retention(times) * np.exp(-decline * np.arange(appeals))
    quality = rng.gamma(phi, 1.0 / phi, appeals) if math.isfinite(phi) else np.ones(appeals)
    mean = expected * math.exp(rng.normal(0.0, BASELINE_SD)) * true * quality
    return times, rng.poisson(mean), expected, true


def learn(
    detector: SeriesEvidence,
    times: NDArray[np.float64],
    responses: NDArray[np.int64],
    expected: float,
    phi: float,
) -> list[tuple[float, float]]:
    """Return (log_e_worn, log_e_rising) after each appeal."""
    path = []
    for i, stocks in enumerate(stocks_of(times)):
        detector.learn_one(
            time_days=float(times[i]),
            responses=int(responses[i]),
            expected_first=expected,
            baseline_sd=BASELINE_SD,
            dispersion=phi,
            stocks=stocks,
            repeat=i + 1,
        )
        path.append((detector.log_e_worn, detector.log_e_rising))
    return path


class NullDetector(SeriesEvidence):
    """Never says anything."""

    def learn_one(self, *args: object, **numbers: object) -> None:
        self.appeals += 1


class RandomDetector(SeriesEvidence):
    """Says 100 at an appeal with probability .02, whatever came."""

    rng = np.random.default_rng(5)

    def learn_one(self, *args: object, **numbers: object) -> None:
        self.log_e_worn = self.log_e_rising = math.log(100.0) * float(self.rng.random() < 0.02)


def alarms(
    make: Callable[[], SeriesEvidence],
    retention: Retention,
    phi: float,
    count: int,
    appeals: int,
    seed: int,
    within: int | None = None,
    threshold: float = 100.0,
    decline: float = 0.0,
) -> tuple[int, int]:
    """Return how many of `count` series are accused of wearing out and of rising.

    With `within`, only alarms up to that many appeals after the onset (retention <= .7) count.
    """
    rng = np.random.default_rng(seed)
    worn = rising = 0
    for _ in range(count):
        times, responses, expected, true = series(rng, retention, phi, appeals, decline)
        until = appeals if within is None else int(np.argmax(true <= 0.7)) + within
        path = np.array(learn(make(), times, responses, expected, phi))[:until]
        worn += bool((path[:, 0] >= math.log(threshold)).any())
        rising += bool((path[:, 1] >= math.log(threshold)).any())
    return worn, rising


def binomial_limit(count: int, probability: float, risk: float = 1e-6) -> int:
    """Return the least k with P(Binomial(count, probability) >= k) < risk."""
    tail, k = 1.0, 0
    while tail >= risk:
        tail -= math.comb(count, k) * probability**k * (1.0 - probability) ** (count - k)
        k += 1
    return k


@pytest.mark.parametrize("phi", [1.0, 5.0, 1e6])
def test_each_alternative_is_a_probability_distribution_given_the_past(phi: float) -> None:
    """Then the mean of every ratio under the null's own prediction is one: a martingale."""
    rng = np.random.default_rng(3)
    rows = ROWS
    mean = rng.normal(2.0, 0.4, rows)
    variance = rng.uniform(0.01, 0.5, rows)
    total = np.zeros(rows)
    for y in range(6000 if phi < 2.0 else 600):
        constant = math.lgamma(y + phi) - math.lgamma(phi) - math.lgamma(y + 1) - y * math.log(phi)
        total += np.exp(absorb(mean, variance, float(y), phi)[0] + constant)
    np.testing.assert_allclose(total, 1.0, atol=1e-3)


def exact_log_ratios(
    responses: NDArray[np.int64], expected: float, phi: float, rows: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the log ratios by brute force: the baseline integrated out over a fine grid."""
    baseline = np.linspace(-8.0 * BASELINE_SD, 8.0 * BASELINE_SD, 4001)
    total = np.tile(-0.5 * (baseline / BASELINE_SD) ** 2, (rows[0].size, 1))
    for y, row in zip(responses, rows, strict=True):
        eta = math.log(expected) + row[:, None] + baseline
        total += y * eta - (y + phi) * np.log1p(np.exp(eta) / phi)
    peak = total.max(axis=1)
    logs = peak + np.log(np.exp(total - peak[:, None]).sum(axis=1))
    return np.asarray(logs - logs[0])


@pytest.mark.parametrize("phi", [2.0, 5.0, 20.0])
def test_agrees_with_brute_force(phi: float) -> None:
    rng = np.random.default_rng(11)
    for retention in (fresh, decay):
        times, responses, expected, _ = series(rng, retention, phi, appeals=20)
        path = learn(SeriesEvidence(drift_sd=0.0), times, responses, expected, phi)
        rows = [
            log_retention_rows(*stocks.tolist(), i + 1.0, 0.0)
            for i, stocks in enumerate(stocks_of(times))
        ]
        exact = log_mixtures(exact_log_ratios(responses, expected, phi, rows))
        assert path[-1] == pytest.approx(exact, abs=0.1, rel=0.15)


def test_false_alarms_stay_below_the_promise() -> None:
    worn, rising = alarms(SeriesEvidence, fresh, phi=5.0, count=300, appeals=30, seed=1)
    limit = binomial_limit(300, 0.01)
    assert worn < limit and rising < limit


@pytest.mark.slow
@pytest.mark.parametrize("phi", [1.0, 5.0, math.inf])
def test_false_alarms_over_fifty_appeals(phi: float) -> None:
    worn, rising = alarms(SeriesEvidence, fresh, phi=phi, count=2000, appeals=50, seed=2)
    # The promise is 1 %; 0.1 to 0.3 % is what it comes to, so half a percent is asked here.
    limit = binomial_limit(2000, 0.005)
    assert worn < limit and rising < limit


@pytest.mark.slow
def test_a_steady_decline_is_seldom_taken_for_wear_out() -> None:
    """Of a baseline held to be fixed for ever 41 % would be accused; see the module's docstring."""
    fixed, _ = alarms(
        lambda: SeriesEvidence(drift_sd=0.0), fresh, 5.0, 300, appeals=50, seed=15, decline=0.02
    )
    drifting, _ = alarms(SeriesEvidence, fresh, 5.0, 300, appeals=50, seed=15, decline=0.02)
    assert drifting <= 36 and fixed >= 90


def test_power_against_decay() -> None:
    worn, _ = alarms(SeriesEvidence, decay, phi=10.0, count=100, appeals=24, seed=4, within=20)
    assert worn >= 70


@pytest.mark.slow
@pytest.mark.parametrize(("phi", "power"), [(5.0, 0.45), (10.0, 0.72), (math.inf, 0.97)])
def test_power_against_decay_by_dispersion(phi: float, power: float) -> None:
    worn, rising = alarms(SeriesEvidence, decay, phi, count=400, appeals=40, seed=4, within=20)
    assert worn >= power * 400
    if phi < math.inf:
        assert rising <= 4


def test_rising_is_found() -> None:
    worn, rising = alarms(SeriesEvidence, rise, phi=10.0, count=60, appeals=24, seed=6)
    assert rising >= 40 and worn <= 2


def test_null_and_random_detectors_score_nothing_and_chance() -> None:
    assert alarms(NullDetector, decay, 5.0, count=100, appeals=20, seed=7) == (0, 0)
    random_fresh, _ = alarms(RandomDetector, fresh, 5.0, count=300, appeals=20, seed=8)
    random_worn, _ = alarms(RandomDetector, decay, 5.0, count=300, appeals=20, seed=8)
    # Chance is 1 - .98^20 = .33, on the worn-out as on the fresh (five sd of the difference).
    assert abs(random_fresh / 300 - 0.33) < 0.14
    assert abs(random_worn - random_fresh) / 300 < 0.19


def test_an_uncertain_level_weakens_the_evidence() -> None:
    rng = np.random.default_rng(9)
    times, responses, expected, _ = series(rng, decay, 10.0, 20)
    sure, unsure = SeriesEvidence(), SeriesEvidence()
    for i, stocks in enumerate(stocks_of(times)):
        for detector, sd in ((sure, 0.0), (unsure, 0.5)):
            detector.learn_one(
                float(times[i]), int(responses[i]), expected, 0.5, 10.0, stocks, i + 1, sd
            )
    assert unsure.log_e_worn < sure.log_e_worn


def test_many_single_people_do_not_raise_an_alarm() -> None:
    """One series, 5000 calls to people asked up to six times, y in {0, 1}, nobody tires."""
    rng = np.random.default_rng(10)
    calls, peak = SeriesEvidence(), 0.0
    for i in range(5000):
        repeat = int(rng.integers(1, 7))
        stocks = (repeat - 1) * np.array([0.6, 0.8, 0.9])
        expected = float(rng.uniform(0.02, 0.1))
        says_yes = int(rng.random() < expected)
        calls.learn_one(i / 100.0, says_yes, expected, 0.5, 20.0, stocks, repeat)
        peak = max(peak, calls.log_e_worn, calls.log_e_rising)
    assert peak < math.log(100.0)


def test_many_single_people_who_tire_are_found() -> None:
    rng = np.random.default_rng(10)
    calls = SeriesEvidence()
    for i in range(5000):
        repeat = int(rng.integers(1, 7))
        stocks = (repeat - 1) * np.array([0.6, 0.8, 0.9])
        expected = float(rng.uniform(0.02, 0.1))
        says_yes = int(rng.random() < expected * math.exp(-0.25 * stocks[1]))
        calls.learn_one(i / 100.0, says_yes, expected, 0.5, 20.0, stocks, repeat)
    assert calls.log_e_worn > math.log(100.0)


def test_own_responses_alone_say_about_what_is_true() -> None:
    rng = np.random.default_rng(14)
    logs = []
    for _ in range(30):
        times, responses, expected, true = series(rng, decay, 20.0, 20)
        detector = SeriesEvidence()
        learn(detector, times, responses, expected, 20.0)
        retention, low, high = detector.retention(stocks_of(times)[-1], 20)
        assert low <= retention <= high
        logs.append(math.log(retention / true[-1]))
    assert abs(float(np.mean(logs))) < 0.2
    assert SeriesEvidence().retention(np.zeros(3), 1) == (1.0, 1.0, 1.0)


def test_restart_begins_at_one_and_remembers_the_fresh_baseline() -> None:
    detector = SeriesEvidence()
    detector.learn_one(0.0, 300, 100.0, 0.5, 1e6, np.zeros(3), 1)
    for i in range(1, 8):
        detector.learn_one(float(i), 60, 100.0, 0.5, 1e6, np.full(3, float(i)), i + 1)
    assert detector.log_e_worn > math.log(100.0)
    detector.restart()
    assert (detector.log_e_worn, detector.appeals) == (0.0, 0)
    # Measured by the first appeal (300, not 60), 60 is still worn out, and 300 is not a rise.
    worn, recovered = SeriesEvidence(), SeriesEvidence()
    for other, responses in ((worn, 60), (recovered, 300)):
        other.restore(detector.state())
        for i in range(8, 12):
            other.learn_one(float(i), responses, 100.0, 0.5, 1e6, np.full(3, 5.0), i + 1)
    assert worn.log_e_worn > math.log(100.0)
    assert recovered.log_e_rising < 0.0 and recovered.log_e_worn < 0.0


def test_state_continues_identically() -> None:
    rng = np.random.default_rng(12)
    times, responses, expected, _ = series(rng, decay, 5.0, 12)
    one, two = SeriesEvidence(drift_sd=0.01), SeriesEvidence()
    learn(one, times[:6], responses[:6], expected, 5.0)
    two.restore(one.state())
    assert (two.log_e_worn, two.log_e_rising) == (one.log_e_worn, one.log_e_rising)
    assert learn(one, times, responses, expected, 5.0) == learn(
        two, times, responses, expected, 5.0
    )
    assert one.state() == two.state()


@pytest.mark.parametrize("phi", [1e-6, 1.0, 10.0, math.inf])
def test_surprises_leave_nothing_but_numbers(phi: float) -> None:
    """Tracking breaks, a bot answers, expectations are absurd: one NaN would silence it."""
    detector = SeriesEvidence()
    responses = (100, 90, 0, 0, 50_000, 3, 0, 1_000_000, 1, 100)
    expectations = (100.0, 1e6, 1e6, 100.0, 0.05, 1e-6, 1e9, 0.05, 1e6, 100.0)
    for i, (count, expected) in enumerate(zip(responses, expectations, strict=True)):
        for stocks in (np.full(3, float(i)), np.array([0.0, 1e6, 1e6])):
            sd = 0.0 if i % 2 else 30.0
            detector.learn_one(float(i), count, expected, 1.0, phi, stocks, i + 1, sd, -50.0)
            assert math.isfinite(detector.log_e_worn) and math.isfinite(detector.log_e_rising)
    state = detector.state()
    assert all(np.isfinite(np.frombuffer(state[name])).all() for name in ("mean", "variance"))
    assert (np.frombuffer(state["variance"]) > 0.0).all()


def test_an_unexpected_nothing_is_absorbed_exactly() -> None:
    """No response where ten thousand were sure: the null's own integral must hold."""
    prior_mean, variance, phi = math.log(1e4), 0.25, 1e6
    grid = np.linspace(-5.0, 12.0, 200_001)
    log_density = -phi * np.log1p(np.exp(grid) / phi) - (grid - prior_mean) ** 2 / (2.0 * variance)
    log_density -= 0.5 * math.log(2.0 * math.pi * variance)
    peak = log_density.max()
    density = np.exp(log_density - peak)
    exact = peak + math.log(density.sum() * (grid[1] - grid[0]))
    log_p, mean, _ = absorb(np.array([prior_mean]), np.array([variance]), 0.0, phi)
    assert log_p[0] == pytest.approx(exact, abs=1e-3)
    assert mean[0] == pytest.approx((density * grid).sum() / density.sum(), abs=1e-2)


def fine_quadrature(
    mean: NDArray[np.float64], variance: NDArray[np.float64], y: float, phi: float
) -> NDArray[np.float64]:
    """Return log p(y), posterior mean and variance row by row, shape (3, rows)."""
    away = 12.0 * np.sqrt(variance) + np.abs(mean - math.log(y + 0.5))
    eta = mean[:, None] + away[:, None] * np.linspace(-1.0, 1.0, 20_001)
    logs = y * eta - (y + phi) * np.log1p(np.exp(eta) / phi)
    logs -= 0.5 * (eta - mean[:, None]) ** 2 / variance[:, None]
    peak = logs.max(axis=1)
    density = np.exp(logs - peak[:, None])
    mass = density.sum(axis=1)
    center = (density * eta).sum(axis=1) / mass
    spread = (density * (eta - center[:, None]) ** 2).sum(axis=1) / mass
    log_p = peak + np.log(mass * (eta[:, 1] - eta[:, 0]) / np.sqrt(2.0 * math.pi * variance))
    return np.array((log_p, center, spread))


@pytest.mark.parametrize("phi", [1.0, 5.0, 30.0, 1e6])
def test_rows_that_share_a_lattice_are_integrated_as_on_a_fine_grid(phi: float) -> None:
    rng = np.random.default_rng(15)
    for _ in range(50):
        base = rng.uniform(-2.0, 7.0)
        mean = base + np.append(0.0, np.clip(rng.normal(0.0, 0.5, 20), -3.0, 1.6))
        variance = rng.uniform(0.02, 0.4) * rng.uniform(0.8, 1.2, mean.size)
        y = float(rng.poisson(math.exp(rng.choice(mean)) * rng.gamma(phi) / phi))
        log_p, center, spread = fine_quadrature(mean, variance, y, phi)
        answer = absorb(mean, variance, y, phi)
        np.testing.assert_allclose(answer[0], log_p, atol=1e-3)
        np.testing.assert_allclose((answer[1] - center) / np.sqrt(spread), 0.0, atol=5e-3)
        np.testing.assert_allclose(answer[2], spread, rtol=2e-2)


def test_rows_too_far_apart_for_a_lattice_are_absorbed_each_by_itself() -> None:
    mean, variance, y, phi = np.array([3.0, 600.0, 2.0]), np.array([1e-3, 1e-3, 2e-3]), 20.0, 5.0
    answer = absorb(mean, variance, y, phi)
    weight, information = gaussian_about_mode(mean[0], variance[0], y, phi, math.log(y))
    for i in range(mean.size):
        alone = absorb_row(mean[i], variance[i], y, phi, weight, information, math.log(y))
        assert tuple(part[i] for part in answer) == alone
    shared = absorb(mean[[0, 2]], variance[[0, 2]], y, phi)
    np.testing.assert_allclose(shared, [part[[0, 2]] for part in answer], rtol=1e-4)


def test_mean_retention_is_the_weighted_mean_of_the_rows_with_its_quantiles() -> None:
    rng = np.random.default_rng(16)
    for repeat in (2, 5, 14):
        stocks, ratios = rng.uniform(0.0, 3.0, 3), rng.normal(0.0, 2.0, ROWS)
        rows = log_retention_rows(*stocks.tolist(), float(repeat), -0.4)
        weights = np.zeros(ROWS)
        weights[0] = 2.0
        for i in range(1, ROWS - 1):  # what a row weighs beforehand: its mixture, standing alone
            alone = np.full(ROWS, -1e4)
            alone[i] = 0.0
            weights[i] = math.exp(max(log_mixtures(alone)))
        shares = weights * np.exp(ratios)
        shares /= shares.sum()
        retention, least, most = mean_retention(ratios, stocks, repeat, -0.4)
        assert retention == pytest.approx(math.exp(float(rows @ shares)))
        for limit, share in ((least, 0.05), (most, 0.95)):
            if limit == retention:  # the interval was stretched to hold its mean
                continue
            below = float(shares[rows < math.log(limit) - 1e-9].sum())
            upto = float(shares[rows < math.log(limit) + 1e-9].sum())
            assert below < share <= upto


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time_days", math.nan),
        ("responses", -1),
        ("expected_first", 0.0),
        ("expected_first", math.inf),
        ("baseline_sd", -0.5),
        ("dispersion", math.nan),
        ("dispersion", 0.0),
        ("stocks", np.array([1.0, math.nan, 1.0])),
        ("stocks", np.array([1.0, -1.0, 1.0])),
        ("repeat", 0),
        ("expectation_sd", math.inf),
        ("log_retention", math.nan),
    ],
)
def test_refuses_what_it_cannot_learn_and_stays_as_it_was(name: str, value: object) -> None:
    good = {
        "time_days": 1.0,
        "responses": 3,
        "expected_first": 5.0,
        "baseline_sd": 0.5,
        "dispersion": 10.0,
        "stocks": np.array([1.0, 1.0, 1.0]),
        "repeat": 2,
        "expectation_sd": 0.1,
        "log_retention": -0.2,
    }
    detector = SeriesEvidence()
    detector.learn_one(**good)  # type: ignore[arg-type]
    before = detector.state()
    with pytest.raises(ValueError, match=name):
        detector.learn_one(**{**good, name: value})  # type: ignore[arg-type]
    assert detector.state() == before
    new = SeriesEvidence()  # whose rows have not been told apart yet
    with pytest.raises(ValueError, match=name):
        new.learn_one(**{**good, name: value})  # type: ignore[arg-type]
    assert new.state() == SeriesEvidence().state()


def repeats_until_established(seed: int, beta: float, phi: float, limit: int) -> int:
    """Return how many repeats, over series of four appeals, until the kind's evidence is 100."""
    rng = np.random.default_rng(seed)
    kind, repeats = KindEvidence(), 0
    while repeats < limit:
        detector = SeriesEvidence()
        times, responses, expected, _ = series(
            rng, lambda t: np.exp(-beta * stocks_of(t)[:, 1]), phi, 4
        )
        for i, stocks in enumerate(stocks_of(times)):
            detector.learn_one(
                float(times[i]), int(responses[i]), expected, 0.5, phi, stocks, i + 1
            )
            kind.learn_one(detector.increments)
            repeats += i > 0
            if kind.log_e_worn >= math.log(100.0):
                return repeats
    return limit


def test_a_kind_is_established_by_pooling_its_series() -> None:
    needed = [repeats_until_established(seed, 0.25, 10.0, 200) for seed in range(10)]
    assert float(np.median(needed)) <= 60


def test_a_fresh_kind_is_not_accused() -> None:
    needed = [repeats_until_established(seed, 0.0, 10.0, 90) for seed in range(100, 120)]
    assert needed.count(90) >= 18


def test_kind_state_continues_identically() -> None:
    kind, other = KindEvidence(), KindEvidence()
    kind.learn_one(np.linspace(-0.5, 0.5, ROWS))
    other.restore(kind.state())
    assert other.log_e_worn == kind.log_e_worn and other.state() == kind.state()


def test_survivors_factor_is_the_posterior_mean_of_the_willingness() -> None:
    rng = np.random.default_rng(13)
    willingness = rng.gamma(2.0, 0.5, 400_000)
    silent = rng.poisson(willingness * 0.8) == 0
    assert survivors_factor(0.8, 0.5) == pytest.approx(willingness[silent].mean(), rel=0.01)
