"""Facts and progress to metrics: the one way, live and in a replay.

It is a `streams.telemetry.Telemetry` that also looks, now and then, at what the learners have
learned. Facts cost a look-up each; responses cost nothing here, they are counted where they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from metrics.exporter import Exporter, series_id
from streams.community import Community
from streams.events import Estimate, Verdict
from streams.learner import Fact, Learner
from streams.ledger import Ledger
from streams.observed import (
    Outlook,
    Rows,
    Sums,
    current_verdicts,
    learned_rows,
    put,
    series_rows,
    stream_totals,
    under_way,
)
from streams.recent import Recent
from streams.settings import Settings
from streams.telemetry import CollectorProgress, LearnerProgress

__all__ = ["Observer"]

# Read events that count are fates too; the rest are the reasons of rejection.
COUNTED = ("appeals", "responses", "exits", "ticks", "redelivered")
# Scores are means over so many appeals at least: the sd of a mean log score is then about .1.
LATE_APPEALS = 200
# So long after the watch on the model's fit has struck, the flag stays up, in event time.
DRIFT_MS = 14 * 86_400_000
# An appeal is far below if even the most now thought possible is less than half of the least
# thought possible before: by chance one in 200 where counts are uneven (phi 5), in 1000 at phi 10.
FAR_BELOW = 0.5
BEYOND_TIME_MS = 1 << 50
# Three numbers of a series, about 250 B: 25 MB.
SERIES_SUMS_MAX = 100_000


class _Learned(msgspec.Struct):
    """What is kept of one learner between looks."""

    outlooks: dict[str, Outlook] = {}
    totals: dict[tuple[str, str, str], float] = {}
    fits: dict[str, deque[tuple[int, dict[str, float]]]] = {}
    owned: set[str] = set()
    looked: bool = False


class Observer:
    """Turns facts, progress and what was learned into calls of an exporter.

    Parameters
    ----------
    exporter
        Where the metrics go.
    settings
        Its fingerprint and the price of an exit are exported.
    version
        Of the program.
    now_ms
        What time it is, for the lag of events: live the wall clock, in a replay the newest event.
    series_max
        Series with labels of their own: confirmed and worst first.
    curves_max
        Kinds with curves of retention by repeat: those with most appeals.
    """

    def __init__(
        self,
        exporter: Exporter,
        settings: Settings,
        version: str,
        now_ms: Callable[[], int],
        series_max: int = 50,
        curves_max: int = 20,
    ) -> None:
        self.exporter = exporter
        self._now_ms = now_ms
        self._series_max = series_max
        self._curves_max = curves_max
        self._fates: dict[int, dict[str, int]] = {}
        self._learners: dict[int, _Learned] = {}
        self._sums: Recent[str, Sums] = Recent(SERIES_SUMS_MAX, Sums)
        rows = Rows()
        put(rows, "settings_info", 1.0, version, settings.fingerprint())
        put(rows, "exit_price", settings.exit_price or 1.0)
        for name, row in rows.items():
            exporter.replace(name, row)

    # What streams.telemetry.Telemetry asks for.

    def facts(self, partition: int, facts: Sequence[Fact]) -> None:
        """Hear of facts: what was expected of an appeal, and what came of it."""
        outlooks = self._of(partition).outlooks
        for fact in facts:
            if type(fact) is Estimate:
                self._hear(outlooks, fact)

    def collector(self, progress: CollectorProgress) -> None:
        """Hear how a collector stands. What it had counted when first heard of is not counted."""
        before = self._fates.get(progress.partition, progress.fates)
        self._fates[progress.partition] = dict(progress.fates)
        for fate, number in progress.fates.items():
            new = max(0, number - before.get(fate, 0))
            self.exporter.add("askagain_events_total", new, fate if fate in COUNTED else "rejected")
            if fate not in COUNTED:
                self.exporter.add("askagain_rejects_total", new, fate)
        owner, labels = f"collector {progress.partition}", (str(progress.partition),)
        self._stand("collector", progress)
        for name in ("open_appeals", "held_responses"):
            self.exporter.replace(f"askagain_{name}", {labels: getattr(progress, name)}, owner)
        self.exporter.replace("askagain_misplaced_events", {labels: progress.misplaced}, owner)

    def learner(self, progress: LearnerProgress) -> None:
        """Hear how a learner stands."""
        self._stand("learner", progress)

    def forget_collector(self, partition: int) -> None:
        """Drop what was said of a collector: another worker has it now."""
        self.exporter.forget(f"collector {partition}")
        self._fates.pop(partition, None)

    def forget_learner(self, partition: int) -> None:
        """Drop what was said of a learner: another worker has it now."""
        self.exporter.forget(f"learner {partition}")
        self._learners.pop(partition, None)

    # What it asks for besides.

    def applied(self, stage: str, seconds: float) -> None:
        """Hear how long a block took, "collector" or "learner" (or "pipeline": both at once)."""
        self.exporter.observe("askagain_apply_duration_seconds", seconds, stage)

    def learned(self, partition: int, learner: Learner) -> None:
        """Look at what a learner has learned: some 50 ms, so every 10 s or so.

        What was there at the first look is not counted.
        """
        communities, watermark_ms = learner.communities, learner.watermark_ms()
        if abs(watermark_ms) >= BEYOND_TIME_MS:
            return
        learned, rows = self._of(partition), Rows()
        verdicts: list[Verdict] = []
        kinds = self._kinds_shown(communities)
        for name, community in sorted(communities.items()):
            ledger = learner.ledgers[name]
            self._count_stream(learned, community, ledger)
            self._attribute(learned, ledger)
            under_way(rows, ledger, learned.outlooks)
            learned_rows(rows, community, ledger, watermark_ms, kinds[name])
            self._weigh_fit(rows, learned, community, ledger, watermark_ms)
            verdicts += current_verdicts(community, watermark_ms)
        series_rows(rows, verdicts, self._sums.get, watermark_ms, self._series_max)
        self._show(f"learner {partition}", learned, rows)
        learned.looked = True

    # How it is done.

    def _of(self, partition: int) -> _Learned:
        return self._learners.setdefault(partition, _Learned())

    def _hear(self, outlooks: dict[str, Outlook], fact: Estimate) -> None:
        if fact.stage == "prior":
            as_new = fact.expected / max(fact.retention, 1e-9)
            outlooks[fact.appeal_id] = Outlook(fact.expected, fact.expected_low, as_new)
            return
        outlook = outlooks.get(fact.appeal_id)
        if outlook is None:
            return
        if fact.stage == "early":
            outlook.low = fact.expected_high < FAR_BELOW * outlook.expected_low
            return
        del outlooks[fact.appeal_id]
        if outlook.series is not None:
            sums = self._sums.touch(outlook.series)
            sums.responses += fact.responses
            sums.expected += outlook.expected
            sums.as_new += outlook.as_new

    def _stand(self, stage: str, progress: CollectorProgress | LearnerProgress) -> None:
        owner, labels = f"{stage} {progress.partition}", (stage, str(progress.partition))
        put = self.exporter.replace
        put("askagain_lag_messages", {labels: progress.lag}, owner)
        watermark_ms = progress.watermark_ms
        if abs(watermark_ms) < BEYOND_TIME_MS:
            lag_s = max(0, self._now_ms() - watermark_ms) / 1000.0
            put("askagain_watermark_timestamp_seconds", {labels: watermark_ms / 1000.0}, owner)
            put("askagain_event_lag_seconds", {labels: lag_s}, owner)

    def _kinds_shown(self, communities: Mapping[str, Community]) -> dict[str, set[str]]:
        """Return, by community, the kinds whose curves are shown."""
        kinds = sorted(
            (-sum(cell.appeals for cell in cells), name, kind)
            for name, community in communities.items()
            for kind, cells in community.tally.kinds.items()
        )
        shown: dict[str, set[str]] = {name: set() for name in communities}
        for _, name, kind in kinds[: self._curves_max]:
            shown[name].add(kind)
        return shown

    def _count_stream(self, learned: _Learned, community: Community, ledger: Ledger) -> None:
        for (name, kind), total in stream_totals(community, ledger).items():
            key = (name, community.name, kind)
            before = learned.totals.get(key, 0.0 if learned.looked else total)
            learned.totals[key] = max(before, total)  # a cut at the next appeal may take some back
            self.exporter.add(name, max(0.0, total - before), community.name, kind)

    def _attribute(self, learned: _Learned, ledger: Ledger) -> None:
        """Remember of which series an appeal is: its last estimate does not say so."""
        for appeal_id, ask in ledger.asks.items():
            outlook = learned.outlooks.get(appeal_id)
            if outlook is not None and outlook.series is None:
                appeal = ask.appeal
                outlook.series = series_id(ledger.name, appeal.appealer, appeal.kind)

    def _weigh_fit(
        self, rows: Rows, learned: _Learned, community: Community, ledger: Ledger, now_ms: int
    ) -> None:
        summary = community.fit.summary(ledger.contest.log_scores())
        appeals, sums = summary["appeals"], _sums_of(summary)
        past = learned.fits.setdefault(community.name, deque([(0, {})]))
        while len(past) > 1 and appeals - past[1][0] >= LATE_APPEALS:
            past.popleft()
        since, were = past[0]
        if appeals - since >= LATE_APPEALS // 4:
            means = {k: (sums[k] - were.get(k, 0.0)) / (appeals - since) for k in sums}
            put(rows, "forecast_inside_ratio", means.pop("inside"), community.name)
            for model, mean in means.items():
                put(rows, "model_log_score", mean, community.name, model)
        if appeals - past[-1][0] >= LATE_APPEALS // 4:
            past.append((appeals, sums))
        struck_ms = summary["misfit_at_ms"]
        drift = struck_ms is not None and now_ms - struck_ms < DRIFT_MS
        put(rows, "model_drift", float(drift), community.name)

    def _show(self, owner: str, learned: _Learned, rows: Rows) -> None:
        """Replace what this learner has shown, also by nothing."""
        learned.owned.update(rows)
        for name in sorted(learned.owned):
            self.exporter.replace(name, rows.get(name, {}), owner)


def _sums_of(summary: dict[str, Any]) -> dict[str, float]:
    """Turn means over all appeals into sums, which can be taken from one another."""
    appeals = summary["appeals"]
    means = summary["log_score_per_appeal"] | {"inside": summary["share_inside_90"]}
    return {name: mean * appeals for name, mean in means.items()}
