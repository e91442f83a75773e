"""Numbers and names in, Prometheus families out. It knows nothing of appeals.

Rows are kept by *owner* (say, one learner's partition), so that what an owner no longer says goes
away with the next scrape instead of standing there for ever. Counters belong to the process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from hashlib import sha256
from math import isfinite
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from metrics.catalog import CATALOG, Metric

__all__ = ["OTHER", "Exporter", "label_value", "series_id"]

Labels = tuple[str, ...]
OTHER = "other"
_JOINER = "\u200d"  # holds compound emoji together
# Bytes of a label value once it is written. 50 kinds with 32 rows, 20 with 81 more (retention
# curves), 50 series with 12 and 20 communities with 30, of 40 bytes of name and at most three such
# values, are 50*32*.2 + 20*81*.22 + 50*12*.3 + 20*30*.15 kB = 0.9 MB: below the 1 MB promised.
VALUE_BYTES_MAX = 60
DROPPED_TOLD_APART_MAX = 10_000


def label_value(text: str) -> str:
    r"""Return `text` as a label value: as it is where it can be, else cut short, with a digest.

    What is invisible and backslashes are replaced: neither survives a dashboard's variables. Two
    texts do not become one: what is changed carries a digest of what it was.

    >>> label_value('say "help" </script>')
    'say "help" </script>'
    >>> label_value("a\nb")
    'a�b~7e18f737'
    """
    shown = "".join(c if _is_plain(c) else "\ufffd" for c in text)
    if shown == text and _written_bytes(shown) <= VALUE_BYTES_MAX:
        return text
    while _written_bytes(shown) > VALUE_BYTES_MAX - 9:
        shown = shown[:-1]
    return f"{shown}~{_digest(text)[:8]}"


def _is_plain(character: str) -> bool:
    return (character.isprintable() and character != "\\") or character == _JOINER


def series_id(community: str, appealer: str, kind: str) -> str:
    """Return a short digest that names a series in queries, whatever its names are made of."""
    return _digest(f"{len(community)}:{community}{len(appealer)}:{appealer}{kind}")[:12]


def _written_bytes(text: str) -> int:
    return len(text.encode()) + text.count('"')


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)


class _Histogram:
    """Counts of observations by bucket, not cumulated."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, amount: float) -> None:
        self.counts[bisect_left(self.bounds, amount)] += 1
        self.sum += amount

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield suffix, further labels and value of each sample."""
        total = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            yield "_bucket", {"le": _bound(bound)}, float(total)
        yield "_count", {}, float(total)
        yield "_sum", {}, self.sum


class Exporter(Collector):
    """Holds the current value of every metric of the catalogue, and gives them when scraped.

    Calls and scrapes may come from different threads.

    Parameters
    ----------
    registry
        Where to register; None: nowhere.
    kinds_max
        Pairs of community and kind with labels of their own, first come. Counts of the rest go
        under kind "other"; other values of the rest are left out.
    communities_max
        The same for communities.

    Examples
    --------
    >>> exporter = Exporter(CollectorRegistry())
    >>> exporter.add("askagain_appeals_total", 3, "twitter", "help")
    >>> exporter.replace("askagain_level_ratio", {("twitter",): 0.9})
    >>> [sample.value for family in exporter.collect() for sample in family.samples]
    [3.0, 0.9]
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        kinds_max: int = 50,
        communities_max: int = 20,
    ) -> None:
        self._max = {"kind": kinds_max, "community": communities_max}
        self._known: dict[str, set[Labels]] = {name: set() for name in self._max}
        self._dropped: dict[str, set[int]] = {name: set() for name in self._max}
        self._values: dict[str, str] = {}
        self._counters: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}
        self._rows: dict[str, dict[str, dict[Labels, float]]] = {}
        self._lock = Lock()
        if registry is not None:
            registry.register(self)

    def add(self, name: str, amount: float, *labels: str) -> None:
        """Add to a counter of the process.

        Raises
        ------
        ValueError
            If the catalogue has no such counter with so many labels, or the amount is negative.
        """
        metric = _metric(name, "counter", labels)
        if not 0.0 <= amount < float("inf"):
            raise ValueError(f"{name}: expected a finite amount >= 0, got {amount!r}")
        with self._lock:
            row, _ = self._admit(metric, labels)
            rows = self._counters.setdefault(name, {})
            rows[row] = rows.get(row, 0.0) + amount

    def observe(self, name: str, amount: float, *labels: str) -> None:
        """Add an observation to a histogram."""
        metric = _metric(name, "histogram", labels)
        if not isfinite(amount):
            raise ValueError(f"{name}: expected a finite amount, got {amount!r}")
        with self._lock:
            rows = self._histograms.setdefault(name, {})
            rows.setdefault(labels, _Histogram(metric.buckets)).observe(amount)

    def replace(self, name: str, rows: Mapping[Labels, float], owner: str = "") -> None:
        """Set all rows of a metric (labels to value) that `owner` answers for; its others go.

        A counter may be replaced too, where its rows come and go.
        """
        admitted: dict[Labels, float] = {}
        with self._lock:
            for labels, value in rows.items():
                metric = _metric(name, None, labels)
                if not isfinite(value):
                    raise ValueError(f"{name}{labels}: expected a finite value, got {value!r}")
                row, has_place = self._admit(metric, labels)
                if has_place:
                    admitted[row] = value
            self._rows.setdefault(name, {})[owner] = admitted

    def forget(self, owner: str) -> None:
        """Drop all rows of an owner."""
        with self._lock:
            for by_owner in self._rows.values():
                by_owner.pop(owner, None)

    def describe(self) -> list[Family]:
        """Return nothing: the registry then does not collect in order to find names."""
        return []

    def collect(self) -> Iterator[Family]:
        """Yield the families that have samples, in the catalogue's order, rows sorted."""
        with self._lock:
            self._rows["askagain_labels_dropped"] = {
                "": {(name,): float(len(kept)) for name, kept in self._dropped.items() if kept}
            }
            families = [self._family(metric) for metric in CATALOG.values()]
        yield from (family for family in families if family.samples)

    def _family(self, metric: Metric) -> Family:
        family = Family(metric.name.removesuffix("_total"), metric.help, metric.type)
        rows = dict(self._counters.get(metric.name, {}))
        for by_owner in self._rows.get(metric.name, {}).values():
            rows.update(by_owner)
        for labels in sorted(rows):
            named = dict(zip(metric.labels, labels, strict=True))
            family.add_sample(metric.name, named, rows[labels])
        for labels, histogram in sorted(self._histograms.get(metric.name, {}).items()):
            named = dict(zip(metric.labels, labels, strict=True))
            for suffix, more, value in histogram.samples():
                family.add_sample(metric.name + suffix, named | more, value)
        return family

    def _admit(self, metric: Metric, labels: Labels) -> tuple[Labels, bool]:
        """Return the row's labels as they are written, and whether none had to become "other"."""
        row = {name: self._value(text) for name, text in zip(metric.labels, labels, strict=True)}
        has_place = True
        if "community" in row and not self._has_place("community", (row["community"],)):
            row["community"], has_place = OTHER, False
        if "kind" in row and not self._has_place("kind", (row["community"], row["kind"])):
            row["kind"], has_place = OTHER, False
        return tuple(row.values()), has_place

    def _has_place(self, name: str, key: Labels) -> bool:
        known = self._known[name]
        if key in known:
            return True
        if len(known) < self._max[name]:
            known.add(key)
            return True
        dropped = self._dropped[name]
        if len(dropped) < DROPPED_TOLD_APART_MAX:
            dropped.add(hash(key))
        return False

    def _value(self, text: str) -> str:
        """Remember what label values look like: most are said again and again."""
        value = self._values.get(text)
        if value is None:
            if len(self._values) >= DROPPED_TOLD_APART_MAX:
                self._values.clear()
            value = self._values[text] = label_value(text)
        return value


def _metric(name: str, type_: str | None, labels: Labels) -> Metric:
    metric = CATALOG.get(name)
    if metric is None or (type_ is not None and metric.type != type_):
        raise ValueError(f"{name}: expected a {type_ or 'metric'} of the catalogue")
    if len(labels) != len(metric.labels):
        raise ValueError(f"{name}: expected labels {metric.labels}, got {labels}")
    return metric
