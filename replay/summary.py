"""What a replay came to: settings, every event's fate, and what each community taught."""

from __future__ import annotations

import platform
from typing import Any

import msgspec

from replay.driver import Replayed
from streams.codec import rfc3339
from streams.communities import Communities

__all__ = ["rounded", "run_facts", "summarise"]


def summarise(learned: Communities, replayed: Replayed) -> dict[str, Any]:
    """Return the content of summary.json: a function of events, settings and code alone."""
    content: dict[str, Any] = rounded(
        {
            "settings": msgspec.to_builtins(learned.settings),
            "settings_fingerprint": learned.settings.fingerprint(),
            "events": replayed.fates,
            "open_at_the_end": replayed.opened,
            "until": _time(replayed.watermark_ms),
            "communities": {
                name: community.summary(replayed.ledgers[name])
                for name, community in sorted(learned.communities.items())
            },
        }
    )
    return content


def run_facts(replayed: Replayed, sources: list[str]) -> dict[str, Any]:
    """Return the content of run.json: what differs from run to run."""
    return {
        "sources": sources,
        "seconds": round(replayed.seconds, 3),
        "events_per_second": round(replayed.fates["read"] / max(replayed.seconds, 1e-9)),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def rounded(content: Any) -> Any:
    """Round every number to six significant digits.

    >>> rounded({"a": [1 / 3, 2]})
    {'a': [0.333333, 2]}
    """
    if isinstance(content, float):
        return float(f"{content:.6g}")
    if isinstance(content, dict):
        return {name: rounded(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [rounded(value) for value in content]
    return content


def _time(time_ms: int) -> str | None:
    return rfc3339(time_ms) if abs(time_ms) < 1 << 50 else None
