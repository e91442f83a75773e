"""Write a simulated stream, as events, beside the truth about it.

Responses are drawn for a block of appeals at a time and written as soon as no later appeal can
have an earlier one: of the responses, memory holds a block and a horizon, however long the world.
Of the appeals it holds the world's columns; with the truth as JSON, below 1 kB each at the worst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from replay.scenarios import WorldSettings
from replay.simulate_ages import draw_cascade
from replay.simulate_text import (
    APPEALER_BASE,
    VALUE_CENTS_MAX,
    Responses,
    appeal_line,
    response_rows,
)
from replay.world import COMMUNITY_SIZE, DAY_MS, Series, World, build_world
from streams.codec import rfc3339

__all__ = [
    "Simulation",
    "draw_responses",
    "series_truth",
    "truth",
    "write_simulation",
    "write_world",
]

# 64 days of 8 appeals: enough to keep numpy busy, some 50,000 responses.
BLOCK_APPEALS = 512
# Kinds 0, 4, ... ask for money: what a gift is, in cents, and how many come with their value.
GIFT_KINDS_EVERY = 4
GIFT_MEDIAN_CENTS, GIFT_LOG_SD, GIFT_TOLD_SHARE = 2_000.0, 1.0, 0.6

Ints = NDArray[np.int64]
Progress = Callable[[int, int], None]


class Simulation(NamedTuple):
    """What was written, and where."""

    events: Path
    truth: Path
    appeals: int
    responses: int
    exits: int


def write_simulation(
    scenario: str,
    seed: int,
    appeals: int,
    out_dir: Path,
    *,
    settings: WorldSettings | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Write `events.jsonl` and `truth.json` of a scenario into a folder, which is made if need be.

    Parameters
    ----------
    scenario, seed, appeals, settings : as of replay.world.build_world.
    out_dir : the folder.
    progress : called with appeals done and appeals in all, now and then.

    Raises
    ------
    ValueError
        If there is no such scenario, or no appeal to draw.
    """
    return write_world(
        build_world(scenario, seed, appeals, settings=settings), out_dir, progress=progress
    )


def write_world(world: World, out_dir: Path, *, progress: Progress | None = None) -> Simulation:
    """Write a world that is already there, as `write_simulation` does."""
    out_dir.mkdir(parents=True, exist_ok=True)
    done = Simulation(
        events=out_dir / "events.jsonl",
        truth=out_dir / "truth.json",
        appeals=len(world.time_ms),
        responses=int(world.responses.sum()),
        exits=int(world.exits.sum()),
    )
    done.truth.write_bytes(msgspec.json.encode(truth(world)) + b"\n")
    with done.events.open("wb") as out:
        for block, ready in _in_time_order(world):
            _write_block(out, world, block, ready)
            if progress is not None:
                progress(block.stop, done.appeals)
    return done


def draw_responses(rng: np.random.Generator, world: World, block: range) -> Responses:
    """Draw the responses and exits of a block of appeals, in no order of time."""
    posted_days = (world.time_ms[block.start : block.stop] % DAY_MS) / DAY_MS
    generations = world.generations[block.start : block.stop]
    exits = world.exits[block.start : block.stop, None]
    appeal, age = draw_cascade(rng, world.settings, posted_days, generations)
    exit_appeal, exit_age = draw_cascade(rng, world.settings, posted_days, exits)
    of = block.start + np.concatenate([appeal, exit_appeal])
    age_ms = np.ceil(np.concatenate([age, exit_age]) * DAY_MS).astype(np.int64)
    leaves = np.arange(len(of)) >= len(appeal)
    horizon_ms = int(world.settings.horizon_days * DAY_MS)
    return Responses(
        time_ms=world.time_ms[of] + np.clip(age_ms, 1, horizon_ms - 1),
        appeal=of,
        responder=_responders(rng, world, block, of),
        cents=np.where(leaves, -1, _cents(rng, world.kind[of])),
        exit=leaves,
    )


def truth(world: World) -> dict[str, object]:
    """Return the truth as plain data: what was drawn from, by appeal (columns) and by series."""
    return {
        "scenario": world.scenario,
        "seed": world.seed,
        "settings": world.settings,
        "appeals": _appeal_columns(world),
        "series": [series_truth(series) for series in world.series()],
    }


def series_truth(series: Series) -> dict[str, object]:
    """Return the truth about one series as plain data, its onset in RFC 3339."""
    onset = series.onset_time_ms
    return {
        "appealer": series.appealer,
        "kind": series.kind,
        "appeals": series.appeals,
        "immune": series.immune,
        "onset_time": None if onset is None else rfc3339(onset),
        "onset_number": series.onset_number,
        "onset_appeal_id": series.onset_appeal_id,
    }


def _appeal_columns(world: World) -> dict[str, list[str] | list[int] | list[float]]:
    return {
        "appeal_id": [f"a{index:08d}" for index in range(len(world.time_ms))],
        "appealer": [f"p{who:07d}" for who in world.appealer.tolist()],
        "kind": [f"kind-{kind}" for kind in world.kind.tolist()],
        "repeat": world.repeat.tolist(),
        "number": world.number.tolist(),
        "retention": world.retention.round(9).tolist(),
        "level": world.level.round(9).tolist(),
        "mean": world.mean.round(6).tolist(),
        "responses": world.responses.tolist(),
    }


def _in_time_order(world: World) -> Iterator[tuple[range, Responses]]:
    """Yield blocks of appeals, each with all responses before the block after it, by time."""
    # The world's own stream is PCG64(seed); its first child is another, independent one.
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(world.seed).spawn(1)[0]))
    appeals = len(world.time_ms)
    waiting: list[Responses] = []
    for start in range(0, appeals, BLOCK_APPEALS):
        block = range(start, min(start + BLOCK_APPEALS, appeals))
        ordered = _by_time([*waiting, draw_responses(rng, world, block)])
        ready = len(ordered.time_ms)
        if block.stop < appeals:
            ready = int(np.searchsorted(ordered.time_ms, world.time_ms[block.stop]))
        yield block, ordered.take(slice(0, ready))
        waiting = [ordered.take(slice(ready, None))]


def _by_time(parts: list[Responses]) -> Responses:
    together = Responses(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return together.take(np.argsort(together.time_ms, kind="stable"))


def _write_block(out: BinaryIO, world: World, block: range, responses: Responses) -> None:
    """Write a block's appeals, each followed by the responses before the next one."""
    rows = response_rows(responses)
    before = np.searchsorted(responses.time_ms, world.time_ms[block.start : block.stop]).tolist()
    out.write(_lines(rows[: before[0]]))
    for index, begin, end in zip(block, before, [*before[1:], len(rows)], strict=True):
        out.write(appeal_line(world.appeal(index)))
        out.write(_lines(rows[begin:end]))


def _lines(rows: NDArray[np.uint8]) -> bytes:
    present: bytes = rows[rows != 0].tobytes()
    return present


def _responders(rng: np.random.Generator, world: World, block: range, of: Ints) -> Ints:
    """Draw who responds: a member of the appealer's network or, by reciprocity, an appealer."""
    share = world.settings.reciprocity_share
    responder = _members(rng, world, block, of)
    if share == 0.0:
        return responder
    active = np.unique(world.appealer[block.start : block.stop])
    weight = np.cumsum(np.exp(world.appealers.propensity[active]))
    chosen = active[np.searchsorted(weight, rng.random(len(of)) * weight[-1])]
    answers = (rng.random(len(of)) < share) & (chosen != world.appealer[of])
    return np.where(answers, APPEALER_BASE + chosen, responder)


def _members(rng: np.random.Generator, world: World, block: range, of: Ints) -> Ints:
    """Draw members of the appealers' networks, nobody twice for one appeal while there are enough.

    An appealer's network is a stretch of the community, as long as its reach; networks overlap.
    The k-th of n responses comes from the k-th of n parts of the stretch.
    """
    who, within = world.appealer[of], of - block.start
    counts = np.bincount(within)
    place = np.empty(len(of), dtype=np.int64)
    place[np.argsort(of, kind="stable")] = _count_up(counts)
    part = (place + rng.random(len(of))) / counts[within]
    begin = who * 2_654_435_761 % COMMUNITY_SIZE  # Knuth's multiplier: spreads numbers in a row
    return (begin + (part * world.appealers.reach[who]).astype(np.int64)) % COMMUNITY_SIZE


def _count_up(counts: Ints) -> Ints:
    """Return 0, 1, ... up to each count, one after the other."""
    begins = np.repeat(np.cumsum(counts) - counts, counts)
    return np.arange(len(begins)) - begins


def _cents(rng: np.random.Generator, kind: Ints) -> Ints:
    """Draw gifts in cents, -1 where the response brings no money or does not tell how much."""
    gift = GIFT_MEDIAN_CENTS * np.exp(GIFT_LOG_SD * rng.standard_normal(len(kind)))
    told = (kind % GIFT_KINDS_EVERY == 0) & (rng.random(len(kind)) < GIFT_TOLD_SHARE)
    return np.where(told, np.clip(gift.astype(np.int64), 1, VALUE_CENTS_MAX), -1)
