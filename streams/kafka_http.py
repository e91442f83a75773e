"""Metrics, health, readiness and status of a worker over HTTP, on loopback unless told otherwise.

/health: 200 while the event loop turns and nothing has failed. /ready: 200 when the worker has its
partitions and their state. /status: how every unit stands (watermark, lag, fates); no event, no
name of anybody. /metrics: for Prometheus.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, exposition

from streams.codec import TIME_MS_MIN, rfc3339
from streams.kafka_live import Live
from streams.telemetry import CollectorProgress, LearnerProgress

__all__ = ["start_http"]

Answer = Callable[[web.Request], Awaitable[web.Response]]


async def start_http(
    live: Live, registry: CollectorRegistry, host: str, port: int
) -> web.AppRunner:
    """Serve until the returned runner is cleaned up."""
    application = web.Application()
    application.add_routes(
        [
            web.get("/health", _health(live)),
            web.get("/ready", _ready(live)),
            web.get("/status", _status(live)),
            web.get("/metrics", _metrics(registry)),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


def _health(live: Live) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(
            text="failed\n" if live.failed else "ok\n", status=503 if live.failed else 200
        )

    return answer


def _ready(live: Live) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        text, status = ("ready\n", 200) if live.ready else ("not ready\n", 503)
        return web.Response(text=text, status=status)

    return answer


def _status(live: Live) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        body = msgspec.json.encode(
            {"ready": live.ready, "units": [_line(p) for p in live.progress()]}
        )
        return web.Response(body=body, content_type="application/json")

    return answer


def _metrics(registry: CollectorRegistry) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        body = exposition.generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": exposition.CONTENT_TYPE_LATEST})

    return answer


def _line(progress: CollectorProgress | LearnerProgress) -> dict[str, Any]:
    line = progress._asdict()
    watermark_ms = line.pop("watermark_ms")
    line["watermark"] = rfc3339(watermark_ms) if watermark_ms >= TIME_MS_MIN else None
    return {"unit": "collector" if isinstance(progress, CollectorProgress) else "learner"} | line
