"""What is true of a world, as a file says it: the yardstick of `askagain evaluate`.

A truth is one JSON object. `replay.simulate` writes it; a world made elsewhere needs only these
parts of it, and every part may be missing (what needs it is then not computed, and that is said):

| part | what it is |
|---|---|
| `appeals.appeal_id` | ids, as in the events, in any order |
| `appeals.retention` | beside them, the true retention of each appeal, > 0 |
| `series` | objects: `appealer`, `kind`, and `onset_appeal_id` or `onset_time` (RFC 3339) or null |
| `settings` | `beta_own`, `beta_kind`, `beta_crowd`: wear-out per appeal of stock, natural log; |
| | `half_life_own_days`, `half_life_kind_days`, `half_life_crowd_days` |
| `scenario`, `seed` | labels |

Where `series` is missing, an onset is the series' first appeal with a retention of 0.7 or less.
"""

from __future__ import annotations

from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from streams.settings import ConfigError

__all__ = ["AppealsTruth", "SeriesTruth", "Truth", "read_truth"]


class AppealsTruth(msgspec.Struct, frozen=True):
    """Columns: ids, and the true retention beside each."""

    appeal_id: list[str | int] = []
    retention: list[float] = []

    def __post_init__(self) -> None:
        ids, values = len(self.appeal_id), len(self.retention)
        if values not in (0, ids):
            raise ValueError(f"expected a retention for each of {ids} appeals, got {values}")
        wrong = next((value for value in self.retention if not 0.0 < value < inf), None)
        if wrong is not None:
            raise ValueError(f"expected retentions > 0 and finite, got {wrong!r}")


class SeriesTruth(msgspec.Struct, frozen=True):
    """When a series wore out to 0.7 or below: by appeal or by time; neither if it never did."""

    appealer: str
    kind: str
    onset_appeal_id: str | int | None = None
    onset_time: datetime | None = None


class Truth(msgspec.Struct, frozen=True):
    """What is true of a world, as far as it was told."""

    appeals: AppealsTruth = AppealsTruth()
    series: list[SeriesTruth] | None = None
    settings: dict[str, Any] = {}
    scenario: str | None = None
    seed: int | None = None

    def retention(self) -> dict[str, float]:
        """Return the true retention by appeal id."""
        values = zip(self.appeals.appeal_id, self.appeals.retention, strict=False)
        return {str(appeal_id): value for appeal_id, value in values}


def read_truth(path: Path) -> Truth:
    """Read a truth.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not a truth; the message says what was expected and where.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Truth)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: expected what is true of a world, got: {error}") from None
