"""Prometheus and Alertmanager, started for a test on free ports of the loopback, and a receiver."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry

from metrics.exporter import Exporter
from metrics.openmetrics import serve
from replay.driver import replay
from replay.output import Output
from replay.reader import read_lines, source_names
from replay.simulate import write_simulation
from replay.watch import Watch
from streams.collector import Block
from streams.events import Rejected, Tick
from streams.pipeline import Pipeline
from streams.settings import Settings

METRICS = Path(__file__).parents[1] / "metrics"
PATIENCE_S = 60.0
TICK_EVERY_S = 0.5


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: sh tests/tools.sh")
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(what: str, found: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Return what `found` gives once it gives something."""
    until_s = time.monotonic() + patience_s
    while time.monotonic() < until_s:
        if (result := found()) not in (None, False, [], {}):
            return result
        time.sleep(0.1)
    raise AssertionError(f"waited {patience_s:g} s for {what}")


def fetch(url: str) -> Any:
    try:
        with urlopen(url, timeout=10) as answer:
            body = answer.read()
    except (URLError, ConnectionError):
        return None
    return json.loads(body) if body.startswith(b"{") else body


@contextmanager
def running(folder: Path, url: str, *command: str) -> Iterator[None]:
    """Run a server while in the block; it is up when `url` answers."""
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            wait_for(f"{command[0]} (see {log.name})", lambda: fetch(url) is not None)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


class Prometheus:
    """A running Prometheus, to be asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str, at_s: float | None = None) -> list[dict[str, Any]]:
        """Return the result of an instant query; fails where Prometheus refuses it."""
        asked = {"query": expression} | ({} if at_s is None else {"time": str(at_s)})
        answer = fetch(f"{self.url}/api/v1/query?{urlencode(asked)}")
        assert answer is not None and answer["status"] == "success", expression
        result = answer["data"]["result"]
        return result if answer["data"]["resultType"] == "vector" else [{"value": result}]

    def value(self, expression: str, at_s: float | None = None) -> float | None:
        """Return the value of the first row, or None."""
        rows = self.query(expression, at_s)
        return float(rows[0]["value"][1]) if rows else None

    def range(self, expression: str, start_s: float, end_s: float, step_s: float) -> list[Any]:
        """Return the result of a range query."""
        asked = {"query": expression, "start": start_s, "end": end_s, "step": step_s}
        answer = fetch(f"{self.url}/api/v1/query_range?{urlencode(asked)}")
        assert answer is not None and answer["status"] == "success", expression
        return list(answer["data"]["result"])


@contextmanager
def prometheus(folder: Path, config: str, *options: str) -> Iterator[Prometheus]:
    """Start a Prometheus whose data are in `folder`/data."""
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    port = free_port()
    command = [program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", *options]
    with running(folder, f"http://127.0.0.1:{port}/-/ready", *command):
        yield Prometheus(port)


class Receiver:
    """A webhook receiver that remembers what it was told: alerts by name, the latest last."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def firing(self, name: str) -> list[dict[str, Any]]:
        """Return the alerts of a name that were said to fire."""
        return [
            one
            for one in list(self.heard)
            if one["labels"]["alertname"] == name and one["status"] == "firing"
        ]

    def names(self) -> set[str]:
        """Return the names of all alerts that were said to fire."""
        return {one["labels"]["alertname"] for one in self.heard if one["status"] == "firing"}


@contextmanager
def receiver() -> Iterator[tuple[Receiver, int]]:
    """Listen for webhooks while in the block."""
    heard = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.heard.extend(json.loads(body)["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield heard, server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hurried(text: str) -> str:
    """Return rules or routes with waits of hours and minutes made seconds: a test cannot wait."""
    text = re.sub(r"(for|interval|evaluation_interval|scrape_interval): \d+\w+", r"\1: 1s", text)
    text = re.sub(r"(keep_firing_for): \d+\w+", r"\1: 2s", text)
    text = re.sub(r"(group_wait|group_interval): \d+\w", r"\1: 1s", text)
    text = text.replace("scrape_interval: 1s", "scrape_interval: 2s")
    return text.replace("[15m]", "[10s]").replace("for: 1s\n        keep", "for: 3s\n        keep")


@contextmanager
def watched(folder: Path, target_port: int) -> Iterator[tuple[Prometheus, Receiver]]:
    """Start all there is: our rules and routes, hurried, over what is served at a port."""
    with ExitStack() as stack:
        heard, receiver_port = stack.enter_context(receiver())
        alerts_port = free_port()
        routes = hurried((METRICS / "alertmanager.yml").read_text(encoding="utf-8"))
        routes = routes.replace("127.0.0.1:9095", f"127.0.0.1:{receiver_port}")
        (folder / "alertmanager.yml").write_text(routes, encoding="utf-8")
        command = [program("prometheus-alertmanager"), "--config.file=alertmanager.yml"]
        command += ["--cluster.listen-address=", "--storage.path=alertmanager"]
        command += [f"--web.listen-address=127.0.0.1:{alerts_port}"]
        url = f"http://127.0.0.1:{alerts_port}/-/ready"
        stack.enter_context(running(folder, url, *command))
        (folder / "rules").mkdir()
        rules = hurried((METRICS / "rules" / "askagain.yml").read_text(encoding="utf-8"))
        (folder / "rules" / "askagain.yml").write_text(rules, encoding="utf-8")
        config = hurried((METRICS / "prometheus.yml").read_text(encoding="utf-8"))
        config = config.replace("127.0.0.1:9093", f"127.0.0.1:{alerts_port}")
        config = config.replace("127.0.0.1:9108", f"127.0.0.1:{target_port}")
        yield stack.enter_context(prometheus(folder, config)), heard


class Stream:
    """A replay that, when it has read everything, ticks on like a live stream, until stopped."""

    def __init__(self, events: Path, until_ms: int | None) -> None:
        self.caught_up = threading.Event()
        self.stopped = threading.Event()
        self.registry = CollectorRegistry()
        self._events, self._until_ms = events, until_ms
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        pipeline = Pipeline(Settings())
        watch = Watch(pipeline, Exporter(self.registry))
        [name] = source_names([str(self._events)])
        replay(
            pipeline,
            {name: self._blocks(name)},
            Output(None),
            step_ms=watch.step_ms,
            on_facts=watch.on_facts,
            on_progress=watch.on_progress,
        )
        watch.finish()

    def _blocks(self, name: str) -> Iterator[Block]:
        line = time_ms = 0
        for block in (one.plain() for one in read_lines(str(self._events))):
            count = len([event for event in block.events if not self._is_over(event)])
            if count:
                yield Block(block.source, block.lines[:count], block.events[:count])
                line, time_ms = block.lines[count - 1], block.events[count - 1].time_ms
            if count < len(block.events):
                break
        yield Block(name, [line + 1], [Tick(time_ms + Settings().allowed_lateness_ms)])
        self.caught_up.set()
        while not self.stopped.wait(TICK_EVERY_S):
            line, time_ms = line + 1, time_ms + 60_000
            yield Block(name, [line + 1], [Tick(time_ms + Settings().allowed_lateness_ms)])

    def _is_over(self, event: Any) -> bool:
        if self._until_ms is None or isinstance(event, Rejected):
            return False
        return bool(event.time_ms >= self._until_ms)

    @contextmanager
    def flowing(self) -> Iterator[int]:
        """Flow, and serve, while in the block. Yields the port."""
        with serve(self.registry, "127.0.0.1", 0) as port:
            self._thread.start()
            try:
                yield port
            finally:
                self.stopped.set()
                self._thread.join()


@contextmanager
def alerting(
    folder: Path, scenario: str, appeals: int, until_ms: int | None = None
) -> Iterator[tuple[Stream, Prometheus, Receiver]]:
    events = folder / "events.jsonl"
    if not events.exists():
        write_simulation(scenario, 7, appeals, folder)
    stream = Stream(events, until_ms)
    with stream.flowing() as port, watched(folder, port) as (prometheus, heard):
        wait_for("the stream to be read", stream.caught_up.is_set, patience_s=180)
        yield stream, prometheus, heard
