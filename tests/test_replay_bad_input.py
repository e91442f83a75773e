"""Bad lines among good ones: each is rejected once, in its place, and nothing else changes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from replay.driver import StrictError, replay
from replay.output import FILES, Output
from replay.reader import read_lines
from streams.codec import EVENT_BYTES_MAX
from streams.events import Rejected
from streams.pipeline import Pipeline
from streams.settings import Settings

GOOD = b'{"type":"response","appeal_id":"a1","time":"2009-01-06T21:04:00Z"}'
APPEAL = b'{"type":"appeal","appeal_id":"bad","time":"2009-01-06T21:04:00Z","appealer":"x"}'


def response(**changes: Any) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(GOOD) | changes)


def appeal(**changes: Any) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(APPEAL) | changes)


def raw(field: bytes, value: bytes) -> bytes:
    return GOOD[:-1] + b',"' + field + b'":' + value + b"}"


# Line, reason, field.
DAMAGES: list[tuple[bytes, str, str | None]] = [
    (GOOD[:-20], "not_json", None),
    (GOOD[2:], "not_json", None),
    (GOOD + GOOD, "not_json", None),
    (GOOD + b",", "not_json", None),
    (b"\x00" * 40, "not_json", None),
    (GOOD.replace(b"a1", b"a\x001"), "not_json", None),
    (GOOD.replace(b"a1", b"a\xff1"), "not_json", None),
    (GOOD.replace(b"a1", b"\\ud800"), "not_json", None),
    (b"\xef\xbb\xbf" + GOOD, "not_json", None),
    (GOOD.decode().encode("utf-16"), "not_json", None),
    (b"time,appeal_id,responder", "not_json", None),
    (raw(b"x", b"[" * 50_000), "not_json", None),
    (raw(b"value", b"NaN"), "not_json", None),
    (raw(b"value", b"-Infinity"), "not_json", None),
    (raw(b"value", b"1e999"), "not_finite", "value"),
    (raw(b"time", b"1e999"), "not_finite", "time"),
    (raw(b"count", b"9" * 5000), "out_of_range", "count"),
    (b"[" * 50_000, "wrong_type", None),
    (b"{}", "unknown_type", "type"),
    (b"[]", "wrong_type", None),
    (b"null", "wrong_type", None),
    (b'"a1"', "wrong_type", None),
    (b"17", "wrong_type", None),
    (response(type="share"), "unknown_type", "type"),
    (response(type="missing required field `x`"), "unknown_type", "type"),
    (response(type=None), "wrong_type", "type"),
    (b'{"type":"response","time":1}', "missing_field", "appeal_id"),
    (b'{"type":"appeal","appeal_id":"b","time":1}', "missing_field", "appealer"),
    (b'{"type":"response","appeal_id":"a1"}', "missing_field", "time"),
    (response(appeal_id=1.5), "wrong_type", "appeal_id"),
    (response(appeal_id=""), "out_of_range", "appeal_id"),
    (response(appeal_id="x" * 257), "too_long", "appeal_id"),
    (response(responder=7), "wrong_type", "responder"),
    (response(count=0), "out_of_range", "count"),
    (response(count=2.5), "wrong_type", "count"),
    (response(value=-0.01), "out_of_range", "value"),
    (response(value=1e13), "out_of_range", "value"),
    (response(exit="no"), "wrong_type", "exit"),
    (response(time="9999-12-31T23:59:59Z"), "out_of_range", "time"),
    (response(time="2009-01-06T21:04:00"), "wrong_type", "time"),
    (response(time="yesterday"), "wrong_type", "time"),
    (response(time=True), "wrong_type", "time"),
    (response(time=1e300), "out_of_range", "time"),
    (response(time=1_231_275_840_000), "out_of_range", "time"),  # milliseconds for seconds
    (appeal(reach=-5), "out_of_range", "reach"),
    (appeal(reach=0), "out_of_range", "reach"),
    (appeal(community_size="many"), "wrong_type", "community_size"),
    (appeal(appealer="y" * 300), "too_long", "appealer"),
    (appeal(attributes={"a": None}), "wrong_type", "attributes[...]"),
    (appeal(attributes={str(n): n for n in range(33)}), "too_long", "attributes"),
    (appeal(attributes={"a": "z" * 65}), "too_long", "attributes[...]"),
    (GOOD + b" " * EVENT_BYTES_MAX, "too_long", None),
    (b"x" * 10_000_000, "too_long", None),
]


@pytest.fixture(scope="module")
def good_lines() -> list[bytes]:
    """A week of a few appealers, whose appeals bring less and less."""
    rng = np.random.default_rng(2009)
    rows: list[tuple[float, bytes]] = []
    for index in range(24):
        time_s = 1_231_200_000.0 + 20_000 * index
        event = {"type": "appeal", "appeal_id": f"a{index}", "time": time_s, "reach": 500}
        event |= {"appealer": f"p{index % 3}", "kind": f"k{index % 2}"}
        rows.append((time_s, msgspec.json.encode(event)))
        for age_s in rng.exponential(20_000, rng.poisson(20)).tolist():
            answer = {"type": "response", "appeal_id": f"a{index}", "time": time_s + age_s}
            rows.append((time_s + age_s, msgspec.json.encode(answer)))
    rows.append((time_s + 1e6, b'{"type":"tick","time":%d}' % (time_s + 1e6)))
    return [line for _, line in sorted(rows)]


def replayed(path: Path, out: Path) -> tuple[dict[str, bytes], dict[str, Any], list[Rejected]]:
    """Facts by file, fates, and rejects of a file of events."""
    with Output(out) as output:
        fates = replay(Pipeline(Settings()), {str(path): read_lines(str(path))}, output).fates
    facts = {kind.__name__: (out / name).read_bytes() for kind, name in FILES.items()}
    rejects = [
        msgspec.json.decode(line, type=Rejected) for line in facts.pop("Rejected").splitlines()
    ]
    return facts, fates, rejects


def test_every_tenth_line_is_damaged(good_lines: list[bytes], tmp_path: Path) -> None:
    lines = list(good_lines)
    expected: list[tuple[int, str, str | None]] = []
    for index, (line, reason, field) in enumerate(DAMAGES):
        lines.insert(10 * index + 9, line)
        expected.append((10 * index + 10, reason, field))
    assert len(lines) > 10 * len(DAMAGES)
    clean, damaged = tmp_path / "clean.jsonl", tmp_path / "damaged.jsonl.gz"
    clean.write_bytes(b"\n".join(good_lines))
    damaged.write_bytes(gzip.compress(b"\n".join(lines)))
    facts, fates, _ = replayed(clean, tmp_path / "1")
    got_facts, got_fates, rejects = replayed(damaged, tmp_path / "2")
    assert facts["Estimate"].count(b'"stage":"final"') == 24
    assert got_facts == facts
    assert [(r.line, r.reason, r.field) for r in rejects] == expected
    assert {reject.source for reject in rejects} == {str(damaged)}
    assert all(len(reject.event) <= 500 for reject in rejects)
    assert fates["rejected"] == 0
    assert got_fates["rejected"] == len(DAMAGES)
    for fate in ("appeals", "responses", "exits", "ticks"):
        assert got_fates[fate] == fates[fate]
    assert got_fates["read"] == fates["read"] + len(DAMAGES)


# A byte order mark at the start of a file is not held against its first event.
ALONE = [line for line, _, _ in DAMAGES if not line.startswith(b"\xef\xbb\xbf")]


@pytest.mark.parametrize("line", ALONE, ids=range(len(ALONE)))
def test_a_file_of_nothing_but(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(line)
    with Output(tmp_path / "out") as output:
        replayed = replay(Pipeline(Settings()), {str(path): read_lines(str(path))}, output)
    assert replayed.fates["rejected"] == replayed.fates["read"] == 1


def test_strict_stops_at_the_first(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(APPEAL + b"\n" + GOOD[:-3] + b"\n{}")
    with pytest.raises(StrictError, match=r"bad.jsonl:2: not_json"), Output(None) as output:
        replay(Pipeline(Settings()), {str(path): read_lines(str(path))}, output, strict=True)


def test_rejects_say_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\xff\xfeoops\n" + response(appeal_id="nobody"))
    _, _, rejects = replayed(path, tmp_path / "out")
    assert rejects[0] == Rejected(str(path), 1, "not_json", None, "\ufffd\ufffdoops")
    assert (rejects[1].line, rejects[1].reason) == (2, "unknown_appeal")
    assert '"appeal_id":"nobody"' in rejects[1].event
