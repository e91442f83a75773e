"""What all tests share: how hard Hypothesis tries, and how golden files are renewed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings

GOLDEN = Path(__file__).parent / "golden"

_SLOW_TO_DRAW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.register_profile(
    "deep", max_examples=5000, deadline=None, suppress_health_check=_SLOW_TO_DRAW
)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev")
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what comes out now as what is expected"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, bytes], None]:
    """Compare with a file in tests/golden, or renew it with --update-golden: its diff is reviewed.

    In JSON lines fractions need agree to four digits only: the last ones may differ between one
    machine's numpy and another's.
    """

    def check(name: str, got: bytes) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(got)
        assert path.is_file(), f"{path}: expected a golden file; make it with --update-golden"
        if name.endswith(".jsonl"):
            assert list(_facts(got)) == list(_facts(path.read_bytes()))
        else:
            assert got.decode() == path.read_text(encoding="utf-8")

    return check


def _facts(text: bytes) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        fact: dict[str, Any] = msgspec.json.decode(line)
        yield {name: _nearly(value) for name, value in fact.items()}


def _nearly(value: Any) -> Any:
    return pytest.approx(value, rel=1e-4) if type(value) is float else value
