"""The soak of the benchmark, cut short: the lag stays bounded and memory flat."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.bench_live import soak
from kafka_broker import Broker

pytestmark = pytest.mark.kafka


@pytest.mark.slow
def test_two_minutes(broker: Broker, logs: Path) -> None:
    soak(broker, logs, seconds=120.0, rate=20_000.0)
