"""Real Prometheus and Alertmanager over a replay: who is told what, and what is held back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monitoring import Prometheus, alerting, fetch, wait_for

from replay.reader import read_lines
from replay.simulate import write_simulation
from streams.events import Appeal

pytestmark = pytest.mark.integration

FATIGUE = {
    "AskagainResponseRateFalling",
    "AskagainSeriesWornOut",
    "AskagainTrickWornOutByOthers",
}


def settle(prometheus: Prometheus) -> None:
    """Wait until every alert that were to come would have come: some scrapes and evaluations."""
    scrapes = "sum(count_over_time(up[10m]))"
    before = prometheus.value(scrapes) or 0.0
    wait_for("five scrapes", lambda: (prometheus.value(scrapes) or 0.0) >= before + 5.0)


def test_classic_reaches_the_receiver_and_a_stall_silences_it(tmp_path: Path) -> None:
    with alerting(tmp_path, "classic", 700) as (stream, prometheus, heard):
        [alert, *_] = wait_for("the alert", lambda: heard.firing("AskagainResponseRateFalling"))
        text = alert["annotations"]["description"]
        worst = prometheus.query("bottomk(1, askagain:confirmed_retention:ratio)")[0]["metric"]
        for part in ("Worst is p", "retention 0.", "(90 % interval 0.", "reason: ", "action: "):
            assert part in text, text
        assert alert["labels"]["kind"].startswith("kind-") and worst["appealer"].startswith("p")
        assert "AskagainStreamStalled" not in heard.names()

        stream.stopped.set()
        wait_for("the stall", lambda: heard.firing("AskagainStreamStalled"))
        alerts = wait_for("silence", lambda: silenced(tmp_path))
        assert "AskagainResponseRateFalling" in alerts


def silenced(folder: Path) -> set[str]:
    """Return the names of active alerts besides the stall, if all of them are held back."""
    config = (folder / "prometheus.yml").read_text(encoding="utf-8")
    address = config.split("alertmanagers:")[1].split("targets: [")[1].split("]")[0]
    body = fetch(f"http://{address}/api/v2/alerts?active=true&inhibited=true")
    others = [
        one
        for one in json.loads(body)
        if one["labels"]["alertname"] not in ("AskagainStreamStalled",)
    ]
    held_back = all(one["status"]["state"] == "suppressed" for one in others)
    return {one["labels"]["alertname"] for one in others} if held_back else set()


def test_fresh_tells_nobody_of_fatigue(tmp_path: Path) -> None:
    with alerting(tmp_path, "fresh", 400) as (_, prometheus, heard):
        settle(prometheus)
        assert prometheus.value("sum(askagain_appeals_total)") > 300
        assert not heard.names() & (FATIGUE | {"AskagainLevelDrop", "AskagainStreamStalled"})


def test_outage_tells_of_the_level_and_of_no_fatigue(tmp_path: Path) -> None:
    write_simulation("outage", 7, 1650, tmp_path)
    with alerting(tmp_path, "outage", 0, until_ms=in_outage_ms(tmp_path)) as (_, prometheus, heard):
        [alert, *_] = wait_for("the alert", lambda: heard.firing("AskagainLevelDrop"))
        assert "not fatigue" in alert["annotations"]["description"]
        settle(prometheus)
        assert not heard.names() & FATIGUE


def in_outage_ms(folder: Path) -> int:
    """Return when the middle appeal of the second outage was put."""
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["appeals"]
    pairs = list(zip(truth["appeal_id"], truth["level"], strict=True))
    low = [appeal_id for appeal_id, level in pairs[len(pairs) // 2 :] if level < 0.5]
    wanted = low[len(low) // 2]
    for block in read_lines(str(folder / "events.jsonl")):
        for event in block.events:
            if isinstance(event, Appeal) and event.appeal_id == wanted:
                return event.time_ms
    raise AssertionError(wanted)
