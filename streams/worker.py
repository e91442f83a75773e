"""Runs a worker: logs, health, the Faust application, and a clean end on SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import faust
from aiokafka.errors import KafkaConnectionError
from prometheus_client import CollectorRegistry

from metrics.exporter import Exporter
from streams.app import build_app
from streams.kafka_config import KafkaConfig
from streams.kafka_http import start_http
from streams.kafka_live import Live
from streams.kafka_logs import log_to_stderr
from streams.observer import Observer
from streams.settings import Settings
from streams.telemetry import Telemetry
from streams.ticker import now_ms

__all__ = ["run_worker"]

log = logging.getLogger("askagain.worker")

# A clean end takes a second or two. What is not done by then is done again by the next owner, so
# it is no loss to leave it.
STOP_S_MAX = 9.0


def run_worker(
    config: KafkaConfig,
    settings: Settings,
    *,
    log_level: str = "info",
) -> int:
    """Run until told to stop. Returns the exit code: 0 when told, 1 when it could not go on."""
    log_to_stderr(log_level)
    registry = CollectorRegistry()
    observer = Observer(Exporter(registry), settings, _version(), now_ms)
    try:
        return asyncio.run(_run(config, settings, observer, registry))
    except KafkaConnectionError as error:
        log.error("Kafka cannot be reached", extra={"servers": config.bootstrap_servers})
        log.debug("because", exc_info=error)
        return 1


def _version() -> str:
    try:
        return version("askagain")
    except PackageNotFoundError:
        return "unknown"


async def _run(
    config: KafkaConfig, settings: Settings, telemetry: Telemetry, registry: CollectorRegistry
) -> int:
    stop = asyncio.Event()
    failures: list[BaseException] = []

    def fail(error: BaseException) -> None:
        failures.append(error)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    live = Live(config, settings, telemetry, fail)
    health = await start_http(live, registry, config.http_host, config.http_port)
    await live.open()
    app = build_app(config, live)
    app.finalize()
    watch = asyncio.create_task(_watch(app, fail))
    await app.maybe_start()
    log.info("started", extra={"application": config.application})
    await stop.wait()
    log.info("stopping", extra={"failed": bool(failures)})
    threading.Thread(target=_force, args=(1 if failures else 0,), daemon=True).start()
    watch.cancel()
    await live.close()
    await app.stop()
    await health.cleanup()
    log.info("stopped")
    return 1 if failures else 0


async def _watch(app: faust.App, fail: Callable[[BaseException], None]) -> None:
    while not app.crashed:
        await asyncio.sleep(0.2)
    log.error("Faust cannot go on", exc_info=app.crash_reason)
    fail(app.crash_reason or RuntimeError("Faust gave no reason"))


def _force(code: int) -> None:
    threading.Event().wait(STOP_S_MAX)
    log.warning("stopped before everything was done; it will be done again")
    os._exit(code)
