"""Simulated worlds: deterministic, true to their own truth, and as hard as they are meant to be."""

import json
import math
from collections import Counter
from datetime import datetime

import numpy as np
import pytest

from replay.scenarios import SCENARIOS, WorldSettings, settings_of
from replay.simulate import write_simulation, write_world
from replay.simulate_ages import draw_ages, draw_cascade
from replay.story import write_story
from replay.world import DAY_MS, build_world
from streams.codec import decode_event
from streams.events import Appeal, Response

# What somebody who always says 1 errs by, on average over repeats: the study's, within a fifth
# (a mean over three worlds of 3,500 appeals still varies by a tenth).
ALWAYS_ONE = {
    "fresh": 0.0,
    "classic": 0.833,
    "emulators": 0.151,
    "outage": 0.0,
    "seasonal": 0.329,
    "abrupt": 0.323,
    "recovering": 0.425,
    "brand_vs_human": 0.638,
    "surge": 0.325,
    "mixed": 0.381,
    "immune": 0.700,
}


def generator(seed=1):
    return np.random.Generator(np.random.PCG64(seed))


def read(path):
    with path.open("rb") as lines:
        return [decode_event(line) for line in lines]


def naive_stock(world, index, same, half_life_days):
    before = np.arange(index)[same(np.arange(index))]
    elapsed = (world.time_ms[index] - world.time_ms[before]) / DAY_MS
    return float((2.0 ** (-elapsed / half_life_days)).sum())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_is_as_hard_as_it_is_meant_to_be(scenario):
    errors = []
    for seed in range(3):
        world = build_world(scenario, seed, 3_500)
        errors.append(-np.log(world.retention[world.repeat > 1]).mean())
    assert np.mean(errors) == pytest.approx(ALWAYS_ONE[scenario], rel=0.2)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_truth_is_what_a_naive_sum_over_the_past_gives(scenario):
    world = build_world(scenario, 4, 600)
    settings = world.settings
    for index in range(0, 600, 7):
        me, kind = world.appealer[index], world.kind[index]
        own = naive_stock(world, index, lambda j, me=me: world.appealer[j] == me, 14.0)
        series = naive_stock(
            world,
            index,
            lambda j, me=me, kind=kind: (world.appealer[j] == me) & (world.kind[j] == kind),
            21.0,
        )
        crowd = naive_stock(
            world,
            index,
            lambda j, me=me, kind=kind: (world.appealer[j] != me) & (world.kind[j] == kind),
            10.0,
        )
        worn = settings.beta_own * own + settings.beta_kind * series + settings.beta_crowd * crowd
        if settings.cliff_stock is not None and series >= settings.cliff_stock:
            worn -= np.log(settings.cliff_factor)
        strength = world.appealers.strength[me]
        assert world.retention[index] == pytest.approx(np.exp(-strength * worn), rel=1e-9)


def test_counts_are_close_to_their_means_and_as_uneven_as_phi_says():
    world = build_world("classic", 2, 20_000)
    residual = world.responses - world.mean
    # Negative binomial: variance mean + mean^2 / phi. The ratio's standard error is about .025.
    expected = world.mean + world.mean**2 / 10.0
    assert abs(residual.sum()) < 4.5 * np.sqrt(expected.sum())
    assert (residual**2).sum() / expected.sum() == pytest.approx(1.0, abs=0.15)


def test_a_surge_keeps_the_mean_and_sets_off_its_share():
    world = build_world("surge", 2, 20_000)
    assert world.responses.sum() / world.mean.sum() == pytest.approx(1.0, abs=0.02)
    own_accord = world.generations[:, 0].sum() / world.responses.sum()
    assert own_accord == pytest.approx(0.5, abs=0.01)


def test_twice_the_appeals_take_twice_as_long_at_the_same_rate():
    short, long = (build_world("classic", 3, n) for n in (5_000, 10_000))
    ratio = (long.time_ms[-1] - long.time_ms[0]) / (short.time_ms[-1] - short.time_ms[0])
    assert ratio == pytest.approx(2.0, rel=0.05)


def test_repeats_and_numbers_count_up_from_one():
    world = build_world("mixed", 5, 2_000)
    asked: Counter = Counter()
    of_kind: Counter = Counter()
    for index, appeal in enumerate(world.appeals):
        asked[appeal.appealer] += 1
        of_kind[appeal.appealer, appeal.kind] += 1
        assert world.repeat[index] == asked[appeal.appealer]
        assert world.number[index] == of_kind[appeal.appealer, appeal.kind]


def test_the_onset_is_the_first_appeal_at_seven_tenths():
    world = build_world("immune", 6, 2_000)
    first: dict = {}
    for appeal, retention in zip(world.appeals, world.retention, strict=True):
        if retention <= 0.7:
            first.setdefault((appeal.appealer, appeal.kind), appeal)
    for series in world.series():
        onset = first.get((series.appealer, series.kind))
        assert series.onset_time_ms == (onset and onset.time_ms)
        assert series.onset_appeal_id == (onset and onset.appeal_id)
        assert not (series.immune and onset)


@pytest.mark.parametrize("scenario", ["classic", "mixed"])
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path, scenario):
    a, b, c = (
        write_simulation(scenario, seed, 300, tmp_path / name)
        for seed, name in ((7, "a"), (7, "b"), (8, "c"))
    )
    assert a.events.read_bytes() == b.events.read_bytes() != c.events.read_bytes()
    assert a.truth.read_bytes() == b.truth.read_bytes() != c.truth.read_bytes()


@pytest.mark.parametrize("scenario", ["classic", "mixed"])
def test_the_stream_is_sorted_complete_and_within_the_horizon(tmp_path, scenario):
    # More appeals than a block holds, so that some responses wait for the next one.
    world = build_world(scenario, 9, 1_200)
    seen = []
    written = write_world(world, tmp_path, progress=lambda done, total: seen.append((done, total)))
    events = read(written.events)
    times = [event.time_ms for event in events]
    assert times == sorted(times)
    assert [e for e in events if isinstance(e, Appeal)] == world.appeals
    responses = [e for e in events if isinstance(e, Response)]
    posted = {appeal.appeal_id: appeal.time_ms for appeal in world.appeals}
    assert all(0 < r.time_ms - posted[r.appeal_id] < 7 * DAY_MS for r in responses)
    for drawn, wanted in ((world.responses, False), (world.exits, True)):
        counts = Counter(r.appeal_id for r in responses if r.exit is wanted)
        assert [counts[appeal.appeal_id] for appeal in world.appeals] == drawn.tolist()
    assert (written.responses, written.exits) == (world.responses.sum(), world.exits.sum())
    assert seen[-1] == (1_200, 1_200)


def test_nobody_answers_an_appeal_twice_and_some_tell_their_value(tmp_path):
    responses = [
        event
        for event in read(write_simulation("classic", 1, 300, tmp_path).events)
        if isinstance(event, Response)
    ]
    answers = Counter((r.appeal_id, r.responder) for r in responses)
    # Neighbouring parts of a network may meet in one person where exits come on top.
    assert sum(n > 1 for n in answers.values()) < 0.001 * len(answers)
    values = [r.value for r in responses if r.value is not None]
    assert 0.05 < len(values) / len(responses) < 0.3
    assert np.median(values) == pytest.approx(20.0, rel=0.2)
    assert all(value == round(value, 2) for value in values)


def test_in_the_mixed_world_appealers_answer_each_other(tmp_path):
    events = read(write_simulation("mixed", 1, 600, tmp_path).events)
    appealers = {event.appealer for event in events if isinstance(event, Appeal)}
    own = {event.appeal_id: event.appealer for event in events if isinstance(event, Appeal)}
    answers = [e for e in events if isinstance(e, Response) and e.responder in appealers]
    share = len(answers) / sum(isinstance(event, Response) for event in events)
    assert share == pytest.approx(0.1, abs=0.02)
    assert all(answer.responder != own[answer.appeal_id] for answer in answers)


def test_the_truth_file_agrees_with_the_world(tmp_path):
    world = build_world("brand_vs_human", 3, 400)
    truth = json.loads(write_world(world, tmp_path).truth.read_text())
    assert (truth["scenario"], truth["seed"]) == ("brand_vs_human", 3)
    assert truth["appeals"]["appeal_id"] == [appeal.appeal_id for appeal in world.appeals]
    assert truth["appeals"]["retention"] == pytest.approx(world.retention.tolist(), abs=1e-8)
    assert truth["appeals"]["mean"] == pytest.approx(world.mean.tolist(), abs=1e-5)
    tired = [series for series in truth["series"] if series["onset_time"] is not None]
    assert 0 < len(tired) < len(truth["series"])
    posted = {appeal.appeal_id: appeal.time_ms for appeal in world.appeals}
    for series in tired:
        onset = datetime.fromisoformat(series["onset_time"]).timestamp()
        assert round(onset * 1000) == posted[series["onset_appeal_id"]]


def log_normal_share(days):
    return np.array([0.5 + 0.5 * math.erf(math.log(d * 4.0) / 1.5 / math.sqrt(2.0)) for d in days])


def stretched_share(days):
    return 1.0 - np.exp(-((days * 24.0 / 15.0) ** 0.4))


@pytest.mark.parametrize("posted", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("delay", "share"), [("log-normal", log_normal_share), ("stretched", stretched_share)]
)
def test_delays_follow_their_law_and_the_rhythm_of_the_day(delay, share, posted):
    n = 40_000
    ages = np.sort(draw_ages(generator(), WorldSettings(delay=delay), np.full(n, posted)))
    edges = np.geomspace(1e-6, 7.0, 20_000)
    busy = 1.0 + 0.5 * np.cos(2.0 * np.pi * (posted + edges[1:] - 19.0 / 24.0))
    expected = np.concatenate([[0.0], np.cumsum(np.diff(share(edges)) * busy)])
    distance = np.abs(np.interp(ages, edges, expected / expected[-1]) - (np.arange(n) + 0.5) / n)
    # Kolmogorov-Smirnov: beyond 2.7 / sqrt(n) about once in a million.
    assert distance.max() < 2.7 / np.sqrt(n)
    assert ages[-1] < 7.0


def test_in_a_surge_responses_come_in_swarms():
    posted = np.zeros(1)
    calm = np.array([[2_000]])
    surge = np.array([[1_000, 500, 250, 125, 125]])

    def near(generations):
        _, ages = draw_cascade(generator(), WorldSettings(), posted, generations)
        return np.mean(np.diff(np.sort(ages)) < 0.1 / 1440.0)

    assert near(surge) > near(calm)


def test_a_world_without_responses_can_be_written(tmp_path):
    settings = WorldSettings(first_mean=1e-9, exit_rate=0.0)
    written = write_simulation("silence", 1, 20, tmp_path, settings=settings)
    assert (written.responses, len(read(written.events))) == (0, 20)


def test_poisson_worlds_are_as_even_as_poisson():
    world = build_world("even", 1, 5_000, settings=WorldSettings(phi=None))
    residual = world.responses - world.mean
    assert (residual**2).sum() / world.mean.sum() == pytest.approx(1.0, abs=0.1)


def test_what_cannot_be_drawn_is_refused_by_name():
    with pytest.raises(ValueError, match="expected one of fresh, .*; got 'tired'"):
        settings_of("tired")
    with pytest.raises(ValueError, match="appeals: expected at least 1, got 0"):
        build_world("classic", 1, 0)
    for name, value in (("surge", 1.0), ("beta_own", math.nan), ("gap_days", math.inf)):
        with pytest.raises(ValueError, match=f"{name}: expected .*, got {value}"):
            build_world("odd", 1, 10, settings=WorldSettings(**{name: value}))


def test_the_story_is_the_same_every_time_and_keeps_to_the_record(tmp_path):
    one, two = write_story(tmp_path / "one"), write_story(tmp_path / "two")
    assert one.events.read_bytes() == two.events.read_bytes()
    events = read(one.events)
    assert [e.time_ms for e in events] == sorted(e.time_ms for e in events)
    real = [e for e in events if isinstance(e, Appeal) and e.attributes["synthetic"] == 0.0]
    assert [(a.appealer, a.reach) for a in real] == [
        ("armano", 8_150.0),
        ("stranded-blogger", 48_000.0),
    ]
    gifts = [
        (event.time_ms - real[0].time_ms, event.value)
        for event in events
        if isinstance(event, Response) and event.appeal_id == real[0].appeal_id
    ]
    few_hours, morning = 3 * 3_600_000, 15 * 3_600_000
    assert sum(v for age, v in gifts if age <= few_hours) == pytest.approx(5_000.0)
    assert sum(v for age, v in gifts if age <= morning) == pytest.approx(11_700.0)


def test_in_the_story_repeats_wear_out_rest_restores_and_the_neighbour_keeps_working(tmp_path):
    truth = json.loads(write_story(tmp_path).truth.read_text())["appeals"]
    of = {name: [] for name in truth["appealer"]}
    for name, retention in zip(truth["appealer"], truth["retention"], strict=True):
        of[name].append(retention)
    assert of["armano"][0] == 1.0
    assert of["armano"][6] < 0.4 < 0.9 < of["armano"][7]
    assert min(of["good-neighbour"]) == 1.0
    assert of["winter-market"][0] < 0.8 < of["bakery-on-5th"][0]
    assert 300 <= len(truth["retention"]) <= 600
