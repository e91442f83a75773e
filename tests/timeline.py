"""Streams drawn in ASCII: a row is an appeal, a column a step of time.

    a: A.r3..e
    b: ..A..rr
    tick: ....T

`A` the appeal, `r` a response, a digit so many in one event, `v` a response worth 10, `e` an exit,
`T` a tick; `.` and blanks are nothing. A row's name may say more: `a/ann/help: ...` is appeal a by
ann of kind help. What stands in one column comes in the order of the rows.
"""

from __future__ import annotations

from typing import Any

from strategies import HOUR_MS, START_MS, Event

from streams.events import Appeal, Estimate, Response, Tick, Verdict

_RESPONSES: dict[str, dict[str, Any]] = {"r": {}, "v": {"value": 10.0}, "e": {"exit": True}}
_RESPONSES |= {str(n): {"count": n} for n in range(1, 10)}


def timeline(text: str, step_ms: int = HOUR_MS, start_ms: int = START_MS) -> list[Event]:
    """Return the events drawn, in time order."""
    events: list[tuple[int, Event]] = []
    for row in filter(None, map(str.strip, text.splitlines())):
        name, _, steps = row.partition(":")
        for column, mark in enumerate(steps.strip()):
            if mark not in ". ":
                time_ms = start_ms + column * step_ms
                events.append((time_ms, _event(name.strip(), mark, time_ms)))
    return [event for _, event in sorted(events, key=lambda pair: pair[0])]


def _event(name: str, mark: str, time_ms: int) -> Event:
    if mark == "T":
        return Tick(time_ms)
    appeal_id, appealer, kind = name.split("/") if "/" in name else (name, "ann", "help")
    if mark == "A":
        return Appeal(appeal_id, time_ms, appealer, kind, appealer, "c", 100.0, None, {})
    return Response(appeal_id, time_ms, **_RESPONSES[mark])


def strip(facts: list[Any]) -> str:
    """Draw what was said: a letter a stage of an estimate (p, e, f), a verdict by its state."""
    drawn = []
    for fact in facts:
        if isinstance(fact, Estimate):
            drawn.append(fact.stage[0])
        elif isinstance(fact, Verdict):
            drawn.append(f"[{fact.state} {fact.basis}]")
    return "".join(drawn)
