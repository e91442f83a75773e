"""Mapping files: formats agree, rows have one fate each, errors name their key."""

import gzip
import itertools
import random
from pathlib import Path

import duckdb
import pytest
import zstandard

from replay.mapping import Block, describe, load_mapping, read_mapped
from streams.events import Appeal, Rejected, Response
from streams.settings import ConfigError

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
T0_MS = 1_231_275_840_000  # 2009-01-06T21:04:00Z

APPEALS = '''\
id,sent,who,trick,asked,people,brand,years,lang
7,2009-01-06T21:04:00Z,armano,help-a-friend,followers,8150,false,2.5,en
8,2009-01-08T00:00:00Z,"Smith, J. ""Jay""",bus,readers,48000,true,,es
9,2009-01-06T23:04:00+02:00,armano,help-a-friend,followers,8150,false,2.5,en
'''
RESPONSES = """\
aid,at,rid,u,gift,n,left
7,2009-01-06T21:09:12.250Z,r1,u77,25.0,1,false
8,2009-01-09T00:00:00Z,r2,u1,,3,false
7,2009-01-06T21:04:00Z,r0,,0,1,true
"""
MAP = """\
[appeals]
from = "appeals.csv"
appeal_id = "id"
time = "sent"
appealer = "who"
kind = "trick"
audience = "asked"
community = "'twitter'"
reach = "people"
community_size = "4e6"
[appeals.attributes]
brand = "brand"
years = "years"
lang = "lang"
[responses]
from = "responses.csv"
appeal_id = "aid"
time = "at"
response_id = "rid"
responder = "u"
value = "gift"
count = "n"
exit = '"left"'
"""
ARMANO = {"brand": 0.0, "lang=en": 1.0, "years": 2.5}
GOLDEN = [
    *(
        Appeal(i, T0_MS, "armano", "help-a-friend", "followers", "twitter", 8150.0, 4e6, ARMANO)
        for i in ("7", "9")
    ),
    Response("7", T0_MS, "r0", None, 0.0, 1, True),
    Response("7", T0_MS + 312_250, "r1", "u77", 25.0, 1, False),
    Appeal(
        "8",
        1_231_372_800_000,
        'Smith, J. "Jay"',
        "bus",
        "readers",
        "twitter",
        48000.0,
        4e6,
        {"brand": 1.0, "lang=es": 1.0},
    ),
    Response("8", 1_231_459_200_000, "r2", "u1", None, 3, False),
]
MINIMAL = """\
[appeals]
from = "a.csv"
appeal_id = "id"
time = "t"
appealer = "'x'"
[responses]
from = "r.csv"
appeal_id = "id"
time = "t"
"""


def write(folder: Path, mapping: str = MINIMAL, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    path = folder / "map.toml"
    path.write_text(mapping, encoding="utf-8")
    return path


def blocks(path: Path, horizon_ms: int = WEEK_MS) -> list[Block]:
    return list(read_mapped(path, horizon_ms=horizon_ms, threads=1, memory_limit="500MB"))


def events(path: Path, horizon_ms: int = WEEK_MS) -> list[Appeal | Response | Rejected]:
    return [event for block in blocks(path, horizon_ms) for event in block.events]


def rejects(told: list[Appeal | Response | Rejected]) -> list[tuple[str, int, str, str | None]]:
    return [(e.source, e.line, e.reason, e.field) for e in told if isinstance(e, Rejected)]


def appeals_only(folder: Path, table: str, **keys: str) -> Path:
    """A mapping whose appeals are put to the test; of responses there are none."""
    lines = "".join(f"{key} = {value!r}\n" for key, value in keys.items())
    mapping = MINIMAL.replace("[responses]", f"{lines}[responses]")
    return write(folder, mapping, a_csv=table, r_csv="id,t\n")


class TestFormats:
    def test_csv(self, tmp_path):
        assert events(write(tmp_path, MAP, appeals_csv=APPEALS, responses_csv=RESPONSES)) == GOLDEN

    @pytest.mark.parametrize("separator", ["\t", ";", "|"])
    def test_the_header_decides_the_separator(self, tmp_path, separator):
        texts = [
            t.replace('"Smith, J. ""Jay"""', "Smith/J").replace(",", separator).replace("/", ", ")
            for t in (APPEALS, RESPONSES)
        ]
        found = events(write(tmp_path, MAP, appeals_csv=texts[0], responses_csv=texts[1]))
        assert [e.time_ms for e in found] == [e.time_ms for e in GOLDEN]
        assert found[4].appealer == "Smith, J"  # type: ignore[union-attr]

    @pytest.mark.parametrize("ending, packed", [("gz", gzip.compress), ("zst", zstandard.compress)])
    def test_packed(self, tmp_path, ending, packed):
        (tmp_path / f"appeals.csv.{ending}").write_bytes(packed(APPEALS.encode()))
        (tmp_path / f"responses.csv.{ending}").write_bytes(packed(RESPONSES.encode()))
        assert events(write(tmp_path, MAP.replace(".csv", f".csv.{ending}"))) == GOLDEN

    @pytest.mark.parametrize(
        "ending, copied",
        [
            ("parquet", "FORMAT parquet"),
            ("jsonl", "FORMAT json"),
            ("ndjson", "FORMAT json"),
            ("json", "FORMAT json, ARRAY true"),
            ("jsonl.gz", "FORMAT json, COMPRESSION gzip"),
            ("jsonl.zst", "FORMAT json, COMPRESSION zstd"),
        ],
    )
    def test_other_formats(self, tmp_path, ending, copied):
        path = write(
            tmp_path, MAP.replace("csv", ending), appeals_csv=APPEALS, responses_csv=RESPONSES
        )
        for name in ("appeals", "responses"):
            duckdb.sql(f"FROM read_csv('{tmp_path}/{name}.csv', quote='\"', header=true)").query(
                "t", f"COPY t TO '{tmp_path}/{name}.{ending}' ({copied})"
            )
        assert events(path) == GOLDEN

    def test_a_table_expression_is_relative_to_the_mapping(self, tmp_path, monkeypatch):
        path = write(
            tmp_path,
            MAP.replace(
                'from = "appeals.csv"',
                "from = \"read_csv('appeals.csv', quote='\\\"', header=true)\"",
            ),
            appeals_csv=APPEALS,
            responses_csv=RESPONSES,
        )
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "appeals.csv").write_text("id\n")
        monkeypatch.chdir(elsewhere)
        assert events(path) == GOLDEN

    def test_an_attached_database(self, tmp_path):
        path = write(
            tmp_path,
            'attach = "all.duckdb"\n'
            + MAP.replace('"appeals.csv"', '"appeals"').replace(
                '"responses.csv"', '"SELECT * FROM responses WHERE n > 0"'
            ),
            appeals_csv=APPEALS,
            responses_csv=RESPONSES,
        )
        with duckdb.connect(tmp_path / "all.duckdb") as base:
            for name in ("appeals", "responses"):
                base.execute(
                    f"CREATE TABLE {name} AS FROM read_csv('{tmp_path}/{name}.csv', quote='\"')"
                )
        assert events(path) == GOLDEN
        assert [c.events for c in describe(path, horizon_ms=WEEK_MS).sources] == [3, 3]

    def test_many_files_are_named_one_by_one(self, tmp_path):
        path = write(
            tmp_path,
            MINIMAL.replace('"r.csv"', '["r?.csv", "late.csv"]'),
            a_csv="id,t\n1,5\n",
            r1_csv="id,t\n1,6\n1,no\n",
            r2_csv="t,id\n7,1\n",
            late_csv="id,t\n1,6\n1,8\n",
        )
        placed = [
            (*block.place(i), event.time_ms)
            for block in blocks(path)
            for i, event in enumerate(block.events)
            if isinstance(event, Appeal | Response)
        ]
        assert placed == [
            ("a.csv", 1, 5000),
            ("r1.csv", 1, 6000),
            ("late.csv", 1, 6000),
            ("r2.csv", 1, 7000),
            ("late.csv", 2, 8000),
        ]
        assert rejects(events(path)) == [("r1.csv", 2, "wrong_type", "time")]

    def test_several_tables_of_responses(self, tmp_path):
        path = write(
            tmp_path,
            MINIMAL.replace("[responses]", "[[responses]]").replace('"t"\n[[', '"t"\n[[')
            + '[[responses]]\nfrom = "exits.csv"\nappeal_id = "id"\ntime = "t"\nexit = true\n',
            a_csv="id,t\n1,5\n",
            r_csv="id,t\n1,6\n",
            exits_csv="id,t\n1,6\n",
        )
        assert [e.exit for e in events(path) if isinstance(e, Response)] == [False, True]


class TestValues:
    def test_defaults(self, tmp_path):
        path = write(tmp_path, a_csv="id,t\n1,5\n", r_csv="id,t\n1,6\n")
        assert events(path) == [
            Appeal("1", 5000, "x", "default", "x", "default", 1.0, None, {}),
            Response("1", 6000),
        ]

    @pytest.mark.parametrize("damaged", [False, True], ids=["clean", "beside damaged rows"])
    def test_times(self, tmp_path, damaged):
        texts = {
            "1969-12-31T23:59:59.9995Z": -1,
            "2009-01-06": T0_MS - 75_840_000,
            "2009-01-06T21:04:00Z": T0_MS,
            "2009-01-06T22:04:00.0009+01:00": T0_MS,
            "2009-01-06 21:04:00": T0_MS,
        }
        rows = [*texts, "soon", "2008-02-30"] if damaged else texts
        path = appeals_only(tmp_path, "id,t\n" + "".join(f"1,{text}\n" for text in rows))
        found = events(path)
        assert [e.time_ms for e in found if isinstance(e, Appeal)] == list(texts.values())
        assert len(found) == len(rows)

    @pytest.mark.parametrize("damaged", ["", "2,soon\n"], ids=["clean", "beside a damaged row"])
    def test_unix_times(self, tmp_path, damaged):
        path = appeals_only(tmp_path, f"id,t\n1,1231275840\n1,1231275840.25\n{damaged}")
        assert [e.time_ms for e in events(path) if isinstance(e, Appeal)] == [T0_MS, T0_MS + 250]

    @pytest.mark.parametrize(
        "expression",
        [
            "TIMESTAMP '2009-01-06 21:04:00.0009'",
            "TIMESTAMPTZ '2009-01-06 22:04:00+01'",
            "TIMESTAMP_S '2009-01-06 21:04:00'",
            "TIMESTAMP_NS '2009-01-06 21:04:00.0009'",
            "1231275840::HUGEINT",
            "1231275840.0::DECIMAL(18, 3)",
        ],
    )
    def test_times_of_every_type(self, tmp_path, expression):
        path = appeals_only(tmp_path, "id,t\n1,5\n")
        path.write_text(path.read_text().replace('time = "t"', f'time = "{expression}"', 1))
        assert [e.time_ms for e in events(path)] == [T0_MS]

    def test_text_stays_what_it_was(self, tmp_path):
        table = "id,t,k\n007,1,12345678901234567890\n7,2,+49\n1e5,3,0.10\n"
        found = events(appeals_only(tmp_path, table, kind="k"))
        assert [(e.appeal_id, e.kind) for e in found if isinstance(e, Appeal)] == [
            ("007", "12345678901234567890"),
            ("7", "+49"),
            ("1e5", "0.10"),
        ]
        found = events(appeals_only(tmp_path, "id,t,k\n1.0,1,0.10\n2.0,2,1\n", kind="k"))
        assert [(e.appeal_id, e.kind) for e in found if isinstance(e, Appeal)] == [
            ("1.0", "0.10"),
            ("2.0", "1"),
        ]

    def test_a_misfit_harms_only_the_fields_that_use_it(self, tmp_path):
        rows = [f"{i},{i},{i}.5" for i in range(1, 60)]
        table = "id,t,n\n" + "\n".join([*rows, "x60,60,7", "61,61,seven", "62,62,"]) + "\n"
        path = appeals_only(tmp_path, table, kind="'k' || n", reach="coalesce(n, 1) * 2")
        told = events(path)
        put = [e for e in told if isinstance(e, Appeal)]
        assert [(e.appeal_id, e.kind, e.reach) for e in put[58:]] == [
            ("59", "k59.5", 119.0),
            ("x60", "k7.0", 14.0),
            ("62", "default", 2.0),
        ]
        assert rejects(told) == [("a.csv", 61, "wrong_type", "kind")]

    def test_blank_kind_and_audience_are_absent(self, tmp_path):
        found = events(appeals_only(tmp_path, "id,t,k\n1,1,  \n2,2,\n", kind="k", audience="k"))
        assert {(e.kind, e.audience) for e in found if isinstance(e, Appeal)} == {("default", "x")}

    def test_where_keeps_rows(self, tmp_path):
        path = appeals_only(
            tmp_path, "id,t,n\n1,1,0\n2,2,5\n3,3,\n4,4,many\n" + "9,9,0\n" * 20, where="n > 0"
        )
        told = events(path)
        assert [e.appeal_id for e in told if isinstance(e, Appeal)] == ["2"]
        assert rejects(told) == [("a.csv", 4, "wrong_type", "where")]
        counted = describe(path, horizon_ms=1).sources[0]
        assert counted[2:] == (24, 22, 1, {"wrong_type:where": 1})

    def test_a_number_in_a_damaged_attribute_is_one_still(self, tmp_path):
        mapping = MINIMAL.replace("[responses]", '[appeals.attributes]\nage = "age"\n[responses]')
        table = "id,t,age\n1,1,2.5\n2,2,old\n3,3,\n"
        found = events(write(tmp_path, mapping, a_csv=table, r_csv="id,t\n"))
        assert [e.attributes for e in found if isinstance(e, Appeal)] == [
            {"age": 2.5},
            {"age=old": 1.0},
            {},
        ]


class TestDamage:
    @pytest.mark.parametrize(
        "field, cells",
        [
            ("appeal_id", {"": "missing_field", "   ": "missing_field", "x" * 257: "too_long"}),
            (
                "time",
                {
                    "": "missing_field",
                    "tomorrow": "wrong_type",
                    "1899-12-31": "out_of_range",
                    "2100-01-01": "out_of_range",
                    "inf": "not_finite",
                },
            ),
            ("appealer", {"": "missing_field"}),
            ("kind", {"k" * 257: "too_long"}),
            (
                "reach",
                {
                    "": "missing_field",
                    "0": "out_of_range",
                    "-3": "out_of_range",
                    "nan": "not_finite",
                    "1e999": "not_finite",
                    "1e13": "out_of_range",
                    "lots": "wrong_type",
                },
            ),
            ("community_size", {"-1": "out_of_range"}),
        ],
    )
    def test_appeals(self, tmp_path, field, cells):
        names = ["appeal_id", "time", "appealer", "kind", "reach", "community_size"]
        good = ["1", "2009-01-06", "x", "k", "10", "20"]
        bad = [
            [cell if n == field else g for n, g in zip(names, good, strict=True)] for cell in cells
        ]
        table = "\n".join(",".join(row) for row in (names, good, *bad, good)) + "\n"
        mapping = "[appeals]\nfrom='a.csv'\n" + "".join(f"{n}='{n}'\n" for n in names)
        mapping += MINIMAL[MINIMAL.index("[responses]") :]
        path = write(tmp_path, mapping, a_csv=table, r_csv="id,t\n")
        wanted = [("a.csv", 2 + i, reason, field) for i, reason in enumerate(cells.values())]
        told = events(path)
        assert sorted(rejects(told)) == wanted
        assert len(told) == 2 + len(cells)

    @pytest.mark.parametrize(
        "field, cells",
        [
            ("value", {"-0.01": "out_of_range", "inf": "not_finite", "dear": "wrong_type"}),
            ("count", {"0": "out_of_range", "1.5": "wrong_type", "": "missing_field"}),
            ("exit", {"perhaps": "wrong_type"}),
            ("responder", {"r" * 257: "too_long"}),
        ],
    )
    def test_responses(self, tmp_path, field, cells):
        rows = "".join(f'1,2,"{cell}"\n' for cell in cells)
        path = write(
            tmp_path, MINIMAL + f'{field} = "c"\n', a_csv="id,t\n1,1\n", r_csv=f"id,t,c\n{rows}"
        )
        assert rejects(events(path)) == [
            ("r.csv", 1 + i, reason, field) for i, reason in enumerate(cells.values())
        ]

    def test_the_excerpt_shows_the_raw_values(self, tmp_path):
        found = events(appeals_only(tmp_path, "id,t\n1,5\n2,soon\n"))
        assert isinstance(found[0], Rejected)
        assert found[
            0
        ].event == '{"type":"appeal","appeal_id":"2","time":"soon","appealer":"x",' + (
            '"kind":"default","audience":"x","community":"default","reach":1.0}'
        )

    def test_an_expression_that_fails_on_a_row_is_that_row_s_fault(self, tmp_path):
        path = appeals_only(tmp_path, "id,t,n\n1,1,4\n2,2,x\n", reach="CAST(n AS INT) * 2")
        assert rejects(events(path)) == [("a.csv", 2, "wrong_type", "reach")]

    def test_rows_that_do_not_fit_the_header(self, tmp_path):
        table = 'id,t,k\n1,1,"two\nlines"\n2,2,b,c,d\n3,3\n'
        path = appeals_only(tmp_path, table, kind="k")
        told = events(path)
        assert [(e.appeal_id, e.kind) for e in told if isinstance(e, Appeal)] == [
            ("1", "two\nlines"),
            ("3", "default"),
        ]
        assert rejects(told) == [("a.csv", 2, "wrong_type", None)]
        assert describe(path, horizon_ms=1).sources[0][2:] == (3, 0, 2, {"wrong_type": 1})

    def test_rows_after_a_broken_one_keep_their_numbers(self, tmp_path):
        path = appeals_only(tmp_path, "id,t\n1,1\n")
        (tmp_path / "a.csv").write_bytes(b"id,t\n1,1\n\xff\xfe,2\n3,x\n\xff,4\n5,y\n")
        assert rejects(events(path)) == [
            ("a.csv", 2, "wrong_type", None),
            ("a.csv", 4, "wrong_type", None),
            ("a.csv", 3, "wrong_type", "time"),
            ("a.csv", 5, "wrong_type", "time"),
        ]

    def test_lines_that_are_not_json(self, tmp_path):
        lines = '{"id":1,"t":1}\nnot json\n{"id":"two","t":"2009-01-06"}\n{"id":3,"t":[1]}\n'
        path = write(
            tmp_path, MINIMAL.replace('"a.csv"', '"a.jsonl"'), a_jsonl=lines, r_csv="id,t\n"
        )
        told = events(path)
        assert [e.appeal_id for e in told if isinstance(e, Appeal)] == ["1", "two"]
        assert rejects(told) == [
            ("a.jsonl", 2, "not_json", None),
            ("a.jsonl", 4, "wrong_type", "time"),
        ]

    def test_every_row_has_one_fate(self, tmp_path):
        chance = random.Random(7)
        cells = ["", "1", "2009-01-06", "x", "-1", "0", "nan", "1e300", "2", "y" * 300, "3.5", '"']
        rows = [[chance.choice(cells) for _ in range(5)] for _ in range(3000)]
        table = "id,t,who,n,v\n" + "".join(",".join(row) + "\n" for row in rows)
        mapping = MINIMAL.replace("[responses]", 'reach = "n"\n[responses]') + 'count = "n"\n'
        path = write(
            tmp_path,
            mapping + "value = 'v'\nwhere = \"v <> 'x'\"\n",
            a_csv=table.replace('"', "'"),
            r_csv=table.replace('"', "'"),
        )
        told = events(path)
        left_out = sum(row[4] in ("x", "") for row in rows)
        for count, kind in zip(
            describe(path, horizon_ms=1).sources, (Appeal, Response), strict=True
        ):
            assert count.rows == 3000
            assert count.rows == count.left_out + count.events + sum(count.rejected.values())
            assert count.left_out == (0 if kind is Appeal else left_out)
            assert count.events == sum(isinstance(e, kind) for e in told)
            assert sum(count.rejected.values()) == sum(
                isinstance(e, Rejected) and e.source == count.source for e in told
            )


def naive_last_touch(appeals, responses, horizon_ms):
    """The oracle: for each response, look at all appeals."""
    for number, (audience, time_ms) in enumerate(responses):
        before = [
            (at, appeal_id)
            for appeal_id, whom, at in appeals
            if whom == audience and 0 <= time_ms - at < horizon_ms
        ]
        yield number, max(before)[1] if before else None


class TestLastTouch:
    MAP = """\
[appeals]
from = "a.csv"
appeal_id = "id"
time = "t"
appealer = "'x'"
audience = "whom"
[responses]
from = "r.csv"
attribute = "last-touch"
audience = "whom"
time = "t"
responder = "n"
"""

    @pytest.mark.parametrize("seed", range(5))
    def test_against_the_oracle(self, tmp_path, seed):
        chance = random.Random(seed)
        appeals = [(f"a{i}", f"w{chance.randrange(6)}", chance.randrange(60)) for i in range(80)]
        responses = [(f"w{chance.randrange(7)}", chance.randrange(80)) for _ in range(300)]
        a = "id,whom,t\n" + "".join(f"{i},{w},{t}\n" for i, w, t in appeals)
        r = "whom,t,n\n" + "".join(f"{w},{t},{n}\n" for n, (w, t) in enumerate(responses))
        told = events(write(tmp_path, self.MAP, a_csv=a, r_csv=r), horizon_ms=9_000)
        got = {int(e.responder or 0): e.appeal_id for e in told if isinstance(e, Response)}
        lost = {e.line - 1 for e in told if isinstance(e, Rejected)}
        wanted = dict(naive_last_touch(appeals, responses, 9))
        assert got == {n: i for n, i in wanted.items() if i}
        assert lost == {n for n, i in wanted.items() if not i}

    def test_unattributable_ones_are_rejected_as_such(self, tmp_path):
        path = write(
            tmp_path, self.MAP, a_csv="id,whom,t\n1,w,5\n", r_csv="whom,t,n\nv,6,0\n,7,1\n"
        )
        assert rejects(events(path)) == [
            ("r.csv", 1, "unknown_appeal", "audience"),
            ("r.csv", 2, "missing_field", "audience"),
        ]

    def test_an_unnamed_audience_is_the_appealer(self, tmp_path):
        path = write(
            tmp_path,
            self.MAP.replace('audience = "whom"\n[', "["),
            a_csv="id,t\n1,5\n",
            r_csv="whom,t,n\nx,6,0\n",
        )
        assert events(path)[1] == Response("1", 6000, None, "0")


class TestOrder:
    def test_across_many_batches(self, tmp_path, monkeypatch):
        """Time first, appeals before responses, then ids: however the batches fall."""
        chance = random.Random(3)
        sent = [(chance.randrange(40), f"a{i:04}") for i in range(700)]
        drawn = [(chance.randrange(50), f"a{chance.randrange(700):04}") for _ in range(900)]
        path = write(
            tmp_path,
            a_csv="id,t\n" + "".join(f"{i},{t}\n" for t, i in sent),
            r_csv="id,t\n" + "".join(f"{i},{t}\n" for t, i in drawn),
        )
        keys = sorted([(t * 1000, 0, i) for t, i in sent] + [(t * 1000, 1, i) for t, i in drawn])
        for rows in (1, 7, 64, 100_000):
            monkeypatch.setattr("replay.mapping.BATCH_ROWS", rows)
            told = events(path)
            assert [(e.time_ms, int(isinstance(e, Response)), e.appeal_id) for e in told] == keys

    def test_threads_change_nothing(self, tmp_path):
        path = write(tmp_path, MAP, appeals_csv=APPEALS, responses_csv=RESPONSES)
        assert blocks(path) == list(read_mapped(path, horizon_ms=WEEK_MS, threads=2))


class TestErrors:
    @pytest.mark.parametrize(
        "before, after, message",
        [
            ('appeal_id = "id"\ntime', "time", r"\[appeals\]: missing key 'appeal_id'"),
            ("appealer = \"'x'\"", 'appealr = "1"', r"\[appeals\]: unknown key 'appealr'"),
            ('"a.csv"', '"nowhere.csv"', r"from: no file '.*nowhere.csv'"),
            ('"a.csv"', "[]", r"from: expected a text or a list"),
            ('"a.csv"', '"${NO_SUCH_PLACE}/a.csv"', "environment variable NO_SUCH_PLACE"),
            ('"a.csv"', '"${package:no_such}/a.csv"', "package 'no_such' to be installed"),
            ('"a.csv"', '"SELECT * FROM nothing"', r"(?s)from: cannot read .*nothing"),
            (
                "\"'x'\"",
                '"whoever"',
                r"(?s)appealer: .*whoever.*over the columns id BIGINT, t BIGINT of a.csv",
            ),
            ("\"'x'\"", '"1 +"', r"(?s)appealer: .*syntax error"),
            ('"a.csv"', '"range(3) t(id)); (SELECT 1"', r"(?s)from: .*2 statements"),
            ("\"'x'\"", '"random()::TEXT"', r"(?s)appealer: .*TRY can not be used"),
            ("\"'x'\"", '"1.5"', r"(?s)appealer = '1.5': its type is DECIMAL"),
            ("\"'x'\"", '""', r"appealer: expected a SQL expression, got ''"),
            ("[responses]", "[[answers]]", "unknown key 'answers'"),
            ("[responses]", 'audience = "id"\n[responses]\naudience = "id"', "last-touch"),
            ("[responses]", '[responses]\nattribute = "first"', "got 'first'"),
            ("[responses]", "[responses", "expected a readable TOML file"),
            ("[responses]", "[responses]\nwhere = 'id > x'", r"(?s)\[responses\]: where: .*x"),
        ],
    )
    def test_name_the_place(self, tmp_path, before, after, message):
        assert before in MINIMAL
        path = write(
            tmp_path, MINIMAL.replace(before, after, 1), a_csv="id,t\n1,1\n", r_csv="id,t\n"
        )
        with pytest.raises(ConfigError, match=message) as caught:
            blocks(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("text", ["", "id,id\n1,2\n", "id,,t\n"])
    def test_a_header_must_name_its_columns(self, tmp_path, text):
        with pytest.raises(ConfigError, match="expected a first line of different column names"):
            blocks(write(tmp_path, a_csv=text, r_csv="id,t\n"))

    def test_no_network(self, tmp_path):
        path = write(
            tmp_path, MINIMAL.replace('"a.csv"', "\"read_csv('https://127.0.0.1/a.csv')\"")
        )
        with pytest.raises(ConfigError, match="httpfs"):
            blocks(path)

    def test_settings_come_as_they_stand(self, tmp_path):
        path = write(tmp_path, MINIMAL + '[settings]\nhorizon = "7d"\nuntil_next_appeal = true\n')
        assert load_mapping(path).settings == {"horizon": "7d", "until_next_appeal": True}


def test_describe_shows_the_first_three(tmp_path):
    path = write(tmp_path, MAP, appeals_csv=APPEALS, responses_csv=RESPONSES)
    found = describe(path, horizon_ms=WEEK_MS)
    assert found.first == GOLDEN[:3]
    assert [tuple(count) for count in found.sources] == [
        ("appeals", "appeals.csv", 3, 0, 3, {}),
        ("responses", "responses.csv", 3, 0, 3, {}),
    ]


def test_spills_to_disk(tmp_path):
    """A limit far below the size of the tables does not stop the run."""
    folder = str(tmp_path)
    duckdb.sql(
        "COPY (SELECT 'appeal-' || (i * 7919 % 1000003) AS id, (i * 104729) % 1000003 AS t, "
        f"repeat('r', 40) || i AS u FROM range(200000) r(i)) TO '{folder}/r.parquet'"
    )
    mapping = MINIMAL.replace("r.csv", "r.parquet") + 'responder = "u"\n'
    path = write(tmp_path, mapping, a_csv="id,t\n1,1\n")
    last, n = 0, 0
    for block in read_mapped(path, horizon_ms=1, threads=1, memory_limit="64MB"):
        for now in (e.time_ms for e in block.events if not isinstance(e, Rejected)):
            assert now >= last
            last, n = now, n + 1
    assert n == 200_001


def test_blocks_are_not_tiny(tmp_path):
    path = write(
        tmp_path,
        a_csv="id,t\n" + "".join(f"{i},{i}\n" for i in range(1000)),
        r_csv="id,t\n" + "".join(f"{i},{i}.5\n" for i in range(1000)),
    )
    sizes = [len(block.events) for block in blocks(path)]
    assert len(list(itertools.filterfalse(lambda n: n > 100, sizes))) <= 1
