"""Rules and runbook: promtool's own tests, and that names in them are names that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from metrics.catalog import CATALOG

METRICS = Path(__file__).parents[1] / "metrics"
RULES = METRICS / "rules" / "askagain.yml"
TESTS = sorted((Path(__file__).parent / "rules").glob("*_test.yml"))


def run(program: str, *arguments: str | Path) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: sh tests/tools.sh")
    done = subprocess.run([found, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))


def test_promtool_accepts_rules_and_configuration() -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", RULES)
    run("promtool", "check", "config", METRICS / "prometheus.yml")
    run("promtool", "check", "config", METRICS / "prometheus-history.yml")
    run("amtool", "check-config", METRICS / "alertmanager.yml")


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    run("promtool", "test", "rules", path)


def test_every_alert_is_tested_both_ways() -> None:
    """Where it fires, what promtool expects is complete: other series in the case must not."""
    text = "".join(path.read_text(encoding="utf-8") for path in TESTS)
    cases = re.findall(r"alertname: (\w+).*\n +exp_alerts: ?(\[\])?", text)
    fires = {name for name, empty in cases if not empty}
    silent = {name for name, empty in cases if empty}
    assert fires == set(alerts())
    assert (
        set(alerts()) - silent
        == {
            "AskagainExitsOutweighResponses",  # kinds "dear" and "rare" must not
            "AskagainModelMisfit",  # community "fine"
            "AskagainTrickWornOutByOthers",  # kind "perhaps"
        }
        - silent
    )


def test_every_alert_says_all_that_an_alert_must() -> None:
    text = RULES.read_text(encoding="utf-8")
    for block in text.split("- alert: ")[1:]:
        name = block.split()[0]
        for field in ("for:", "keep_firing_for:", "severity:", "summary:", "description:"):
            assert field in block, f"{name}: {field} is missing"
        assert f"runbook_url: RUNBOOK.md#{name.lower()}" in block


def test_every_alert_has_a_heading_in_the_runbook_and_none_is_left_over() -> None:
    runbook = (METRICS / "RUNBOOK.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^## (Askagain\w+)$", runbook, re.MULTILINE)) == sorted(alerts())


def test_every_metric_in_rules_exists() -> None:
    text = RULES.read_text(encoding="utf-8") + (METRICS / "RUNBOOK.md").read_text(encoding="utf-8")
    recorded = set(re.findall(r"- record: (\S+)", text))
    assert set(re.findall(r"askagain:\w+(?::\w+)?", text)) <= recorded
    named = set(re.findall(r"\baskagain_[a-z_]+", text))
    assert named <= set(CATALOG), named - set(CATALOG)
