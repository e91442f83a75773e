"""Dashboards as code: `python -m metrics.dashboards.write` writes the JSON files beside it."""
