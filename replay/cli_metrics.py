"""The commands `rules` and `dashboards`: print the shipped files, or put them into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.settings import ConfigError

__all__ = ["register"]

METRICS = Path(__file__).parents[1] / "metrics"
RULES = (
    "rules/askagain.yml",
    "prometheus.yml",
    "prometheus-history.yml",
    "alertmanager.yml",
    "RUNBOOK.md",
)
DASHBOARDS = (
    "dashboards/overview.json",
    "dashboards/series.json",
    "dashboards/pipeline.json",
    "provisioning/dashboards/askagain.yml",
    "provisioning/datasources/askagain.yml",
)

Folder = Annotated[
    Path | None, typer.Argument(help="Folder to install into; without it, the file is printed.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that differ.")]


def register(app: typer.Typer) -> None:
    """Add the commands to a command line."""
    app.command(name="rules")(rules)
    app.command(name="dashboards")(dashboards)


def rules(
    folder: Folder = None,
    runbook: Annotated[
        str | None, typer.Option(help="Where the runbook is, for the links in alerts: a URL.")
    ] = None,
    force: Force = False,
) -> None:
    """Print the rules for Prometheus, or install them with settings to start from.

    Examples:

        askagain rules > /etc/prometheus/askagain.yml

        askagain rules monitoring --runbook https://wiki.example.org/askagain/RUNBOOK.md
    """
    texts = {name: (METRICS / name).read_text(encoding="utf-8") for name in RULES}
    if runbook is not None:
        linked = texts[RULES[0]].replace("runbook_url: RUNBOOK.md#", f"runbook_url: {runbook}#")
        texts[RULES[0]] = linked
    if folder is None:
        typer.echo(texts[RULES[0]], nl=False)
    else:
        _install(folder, texts, force)


def dashboards(
    name: Annotated[
        str | None, typer.Option(help="Print this one: overview, series or pipeline.")
    ] = None,
    folder: Folder = None,
    force: Force = False,
) -> None:
    """Install the Grafana dashboards and their provisioning, print one, or say which there are.

    Examples:

        askagain dashboards --name overview > overview.json

        askagain dashboards monitoring
    """
    texts = {name: (METRICS / name).read_text(encoding="utf-8") for name in DASHBOARDS}
    known = {Path(one).stem: texts[one] for one in DASHBOARDS if one.endswith(".json")}
    if name is not None:
        if name not in known:
            raise ConfigError(f"--name: expected one of {', '.join(known)}, got {name!r}")
        typer.echo(known[name], nl=False)
    elif folder is None:
        for one in known:
            typer.echo(one)
    else:
        _install(folder, texts, force)


def _install(folder: Path, texts: dict[str, str], force: bool) -> None:
    """Write files; one that was changed by hand is not replaced unasked."""
    paths = {folder / name: text for name, text in texts.items()}
    try:
        if not force:
            for path, text in paths.items():
                if path.exists() and path.read_text(encoding="utf-8") != text:
                    raise ConfigError(f"{path}: is there and differs; --force replaces it")
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            typer.echo(str(path))
    except OSError as error:
        raise ConfigError(f"{folder}: expected a folder to write to: {error}") from None
