"""Writes the JSON files that are committed, and that `askagain dashboards` installs."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from metrics.dashboards.overview import overview
from metrics.dashboards.pipeline import pipeline
from metrics.dashboards.series import series

__all__ = ["FOLDER", "texts"]

FOLDER = Path(__file__).parent


def texts() -> dict[str, str]:
    """Return the content of each file by its name."""
    made = {"overview": overview(), "series": series(), "pipeline": pipeline()}
    return {f"{name}.json": _text(one.build()) for name, one in made.items()}


def _text(board: Dashboard) -> str:
    for number, panel in enumerate(board.panels or [], start=1):
        panel.id_val = number
    return JSONEncoder(sort_keys=True, indent=2).encode(board) + "\n"


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
