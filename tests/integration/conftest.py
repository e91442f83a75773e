"""One broker for all tests here, and one world with what a replay makes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka_broker import Broker, missing
from kafka_harness import World, make_world


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """Start Apache Kafka. Without a JDK or Maven: skip and say so; under CI=true: fail."""
    reason = missing()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the tests on a real broker cannot run: {reason}")
        pytest.skip(f"no real broker: {reason}")
    with Broker() as running:
        yield running


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """About 30,000 events of 250 appeals."""
    return make_world(tmp_path_factory.mktemp("world"), appeals=250)


@pytest.fixture(scope="session")
def large_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """About 200,000 events of 1,800 appeals."""
    return make_world(tmp_path_factory.mktemp("large-world"), appeals=1_800)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Return where workers write their logs."""
    return tmp_path
