"""The two ways out: scraped over HTTP now, or written with the stream's own times, for back-fill.

What `Backfill` writes, `promtool tsdb create-blocks-from openmetrics FILE DIR` turns into blocks.
Samples are a day (or whatever the step) apart, so whoever asks that Prometheus must let a value
hold as long, and no longer, for the format has no way to say that a series has ended:
`prometheus --query.lookback-delta=1439m`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import BinaryIO

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.samples import Sample

from metrics.catalog import CATALOG
from metrics.exporter import Exporter

__all__ = ["Backfill", "address_of", "serve"]

LOOPBACK = "127.0.0.1"
DAY_MS = 86_400_000
# A year in which nobody asked is shown as it stood; what lies further ahead is rather a wrong date.
HELD_STEPS_MAX = 400


def address_of(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`; without a host, only this machine may look. Port 0: any that is free.

    >>> address_of(":9108"), address_of("[::]:9108")
    (('127.0.0.1', 9108), ('::', 9108))

    Raises
    ------
    ValueError
        If it is none.
    """
    host, colon, port = text.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise ValueError(f"address: expected :PORT or HOST:PORT, got {text!r}")
    return host.strip("[]") or LOOPBACK, int(port)


@contextmanager
def serve(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Serve /metrics while in the block. Yields the port.

    Raises
    ------
    OSError
        If the address cannot be listened at.
    """
    server, thread = start_http_server(port, host, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Backfill:
    """Writes what an exporter shows at one moment after another into one OpenMetrics file.

    The format wants all samples of a metric together, and in them all of one set of labels; time
    comes last. So each metric is written to a file of its own first, and put in order at the end.
    How long this process took to do things is left out: it is of now, not of then.

    Parameters
    ----------
    exporter
        What is shown.
    path
        The file; an old one is replaced when all is written.
    step_ms
        Samples are put at whole multiples of it, at or after the time of what they say.

    Examples
    --------
    >>> exporter = Exporter()
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "m.txt"
    ...     with Backfill(exporter, path) as backfill:
    ...         exporter.add("askagain_events_total", 2, "appeals")
    ...         backfill.write(1_231_200_000_000)
    ...     print(path.read_text(), end="")
    # HELP askagain_events Events read, by what became of them.
    # TYPE askagain_events counter
    askagain_events_total{fate="appeals"} 2.0 1231200000.000
    # EOF
    """

    def __init__(self, exporter: Exporter, path: Path, step_ms: int = DAY_MS) -> None:
        self.exporter = exporter
        self.path = path
        self.step_ms = step_ms
        self._stack = ExitStack()
        self._files: dict[str, BinaryIO] = {}
        self._heads: dict[str, bytes] = {}
        # What was last shown, and as of when: written once nothing newer can take its place.
        self._latest_ms: int | None = None
        self._latest: dict[str, list[bytes]] = {}

    def __enter__(self) -> Backfill:
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"expected a folder to write to, got {self.path.parent}")
        folder = TemporaryDirectory(prefix=f".{self.path.name}-", dir=self.path.parent)
        self._folder = Path(self._stack.enter_context(folder))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None:
                self._settle(None)
                self._put_together()

    def write(self, time_ms: int) -> None:
        """Write what is shown now, as of event time `time_ms`, at the end of its step.

        What was written into the same step before is replaced; where steps were left out, what was
        last said is said again.
        """
        at_ms = -(-time_ms // self.step_ms) * self.step_ms
        self._settle(at_ms)
        self._latest_ms = at_ms
        self._latest = {}
        for family in self.exporter.collect():
            if family.type != "histogram":
                self._heads[family.name] = (
                    f"# HELP {family.name} {family.documentation}\n"
                    f"# TYPE {family.name} {family.type}\n"
                ).encode()
                self._latest[family.name] = [_start_of_line(sample) for sample in family.samples]

    def _settle(self, next_ms: int | None) -> None:
        """Write what was last shown, at its time and at those until `next_ms`."""
        first_ms = self._latest_ms
        if first_ms is None or (next_ms is not None and next_ms <= first_ms):
            return
        end_ms = first_ms + self.step_ms if next_ms is None else next_ms
        end_ms = min(end_ms, first_ms + HELD_STEPS_MAX * self.step_ms)
        for at_ms in range(first_ms, end_ms, self.step_ms):
            stamp = f" {at_ms // 1000}.{at_ms % 1000:03d}\n".encode()
            for name, lines in self._latest.items():
                self._file(name).writelines(line + stamp for line in lines)

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            path = self._folder / name
            self._files[name] = self._stack.enter_context(path.open("w+b"))
        return self._files[name]

    def _put_together(self) -> None:
        whole = self._folder / "whole"
        with whole.open("wb") as out:
            for name in CATALOG:
                name = name.removesuffix("_total")
                if name in self._files:
                    out.write(self._heads[name])
                    _write_grouped(self._files[name], out)
            out.write(b"# EOF\n")
        whole.replace(self.path)


def _start_of_line(sample: Sample) -> bytes:
    labels = ",".join(f'{name}="{_escaped(text)}"' for name, text in sample.labels.items())
    braces = f"{{{labels}}}" if labels else ""
    return f"{sample.name}{braces} {sample.value!r}".encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _write_grouped(lines: BinaryIO, out: BinaryIO) -> None:
    """Copy lines in time order, those of one set of labels together: 8 bytes a line in memory."""
    places: dict[bytes, array[int]] = {}
    lines.seek(0)
    at = 0
    for line in lines:
        places.setdefault(line.rsplit(b" ", 2)[0], array("Q")).append(at)
        at += len(line)
    for key in sorted(places):
        for place in places[key]:
            lines.seek(place)
            out.write(lines.readline())
