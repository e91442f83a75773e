"""Snapshots: the same again, whole or not at all, and no larger than what is still open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator import Deliver, Simulation, one_log
from strategies import DAY_MS, START_MS, Event, small_settings, streams
from timeline import timeline

from streams.collector import Block, CollectorState
from streams.events import Appeal, Response, Tick
from streams.open_appeal import MICROS_MAX
from streams.pipeline import Pipeline, PipelineState
from streams.state import SCHEMA_VERSION, SnapshotError, pack, unpack

SETTINGS = small_settings()
STORY = timeline("""
    a: A.r3..e
    b/bob/sale: ..A..rr
    nobody: ...r
    d: ......A.v
""")


def halfway(events: list[Event], learning: bool = True) -> Simulation:
    simulation = Simulation(SETTINGS, one_log(events), learning=learning)
    simulation._do(Deliver(0, len(events)))
    return simulation


SNAPSHOT = halfway(STORY).snapshot()


@given(streams())
def test_a_snapshot_restored_is_the_same_snapshot(events: list[Event]) -> None:
    snapshot = halfway(events, learning=False).snapshot()
    assert pack(unpack(snapshot, PipelineState)) == snapshot


def test_a_snapshot_with_models_restored_is_the_same_snapshot() -> None:
    restored = Pipeline(SETTINGS, 1, unpack(SNAPSHOT, PipelineState))
    assert pack(restored.state()) == SNAPSHOT


@given(st.integers(0, len(SNAPSHOT) - 1))
def test_a_cut_snapshot_is_refused(length: int) -> None:
    with pytest.raises(SnapshotError, match="^snapshot: expected"):
        unpack(SNAPSHOT[:length], PipelineState)


@given(st.integers(0, len(SNAPSHOT) - 1), st.integers(1, 255))
def test_a_damaged_snapshot_is_refused(place: int, change: int) -> None:
    damaged = bytearray(SNAPSHOT)
    damaged[place] ^= change
    try:
        kept = unpack(bytes(damaged), PipelineState)
    except SnapshotError:
        return
    # A field's name in the envelope may be hit without harm only where msgspec ignores it.
    assert pack(kept) == SNAPSHOT


def test_another_schema_or_kind_is_refused() -> None:
    with pytest.raises(SnapshotError, match="expected CollectorState of schema"):
        unpack(SNAPSHOT, CollectorState)
    fields = msgspec.msgpack.decode(SNAPSHOT)
    fields["schema_version"] = SCHEMA_VERSION + 1
    with pytest.raises(SnapshotError, match=f"got PipelineState of schema {SCHEMA_VERSION + 1}"):
        unpack(msgspec.msgpack.encode(fields), PipelineState)


def test_other_settings_or_partitions_are_refused() -> None:
    with pytest.raises(SnapshotError, match="settings and partitions"):
        Pipeline(small_settings(until_next_appeal=True), 1, unpack(SNAPSHOT, PipelineState))
    with pytest.raises(SnapshotError, match="settings and partitions"):
        Pipeline(SETTINGS, 2, unpack(SNAPSHOT, PipelineState))


def test_facts_are_taken_before_a_snapshot() -> None:
    simulation = halfway(STORY, learning=False)
    simulation.pipeline.learner.facts.append(Tick(0))  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        simulation.pipeline.state()


@given(streams())
def test_what_is_over_is_forgotten(events: list[Event]) -> None:
    far = Tick(START_MS + 60 * DAY_MS)
    (collector,) = halfway([*events, far], learning=False).pipeline.collectors
    state = collector.state
    assert not (state.pending or state.opened or state.closed or state.held)
    assert (state.pending_count, state.held_count, state.response_ids) == (0, 0, 0)
    assert collector._agenda == []


RUN = """
import sys
from test_streams_state import STORY, SETTINGS, halfway
from simulator import Simulation, one_log
sys.stdout.buffer.write(halfway(STORY).snapshot())
outcome = Simulation(SETTINGS, one_log(STORY), learning=True).run()
sys.stdout.buffer.write(b"\\n".join(outcome.facts))
"""


def test_the_hash_seed_leaves_no_trace() -> None:
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests.parent)])
    said = {
        subprocess.run(
            [sys.executable, "-c", RUN],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert b'"stage":"prior"' in said.pop()


def test_the_greatest_values_fit_into_a_snapshot_and_leave_no_trace_of_their_order() -> None:
    one = next(event for event in STORY if isinstance(event, Appeal))
    rich = [
        Response(one.appeal_id, one.time_ms + 1 + n, value=1e12, response_id=identity)
        for n, identity in enumerate([None, "x", "y"] * 10)
    ]
    sums = set()
    for events in ([*rich], [*reversed(rich)]):
        pipeline = Pipeline(SETTINGS)
        far = Tick(one.time_ms + SETTINGS.horizon_ms + SETTINGS.allowed_lateness_ms + 2)
        block = [one, *events, far]
        pipeline.receive(Block("s", range(len(block)), block))
        facts, _ = pipeline.take()
        assert facts and pack(pipeline.state())
        (cells,) = pipeline.learner.communities[one.community].tally.kinds.values()
        sums.add(cells[0].value_micros)
    assert sums == {MICROS_MAX}
