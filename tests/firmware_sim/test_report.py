import re
from pathlib import Path

import pytest
from msgspec import structs

from firmware_sim.compare import Interval, compare
from firmware_sim.report import length, page, ratio_rows, table_rows, words, write_report
from firmware_sim.scenario import parse
from tests.firmware_sim.outcomes import outcome, result

pytest.importorskip("matplotlib")

FLEET = parse(
    'name = "A & <b>"\nabout = "1 < 2"\n[[group]]\nname = "g"\ncount = 20\nboard = "pi-4"'
)
SWEEP = [result(policy, seed) for seed in range(3) for policy in ("stalest", "random")]


@pytest.fixture(scope="module", params=["sweep", "single"])
def html(request: pytest.FixtureRequest) -> str:
    return page(FLEET, SWEEP if request.param == "sweep" else SWEEP[:1])


def test_a_report_loads_nothing_and_runs_nothing(html: str) -> None:
    assert "default-src 'none'" in html
    assert "<script" not in html
    assert set(re.findall(r'(?:src|href)="([^"]{5})', html)) == {"data:"}
    assert "url(" not in html


def test_what_people_wrote_is_text_in_a_report(html: str) -> None:
    assert "A &amp; &lt;b&gt;" in html
    assert "1 &lt; 2" in html


def test_a_report_says_what_is_synthetic(html: str) -> None:
    assert "synthetic" in html


def test_the_same_results_give_the_same_bytes() -> None:
    assert page(FLEET, SWEEP[:1]) == page(FLEET, SWEEP[:1])


def test_a_report_is_one_file(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", FLEET, SWEEP[:1])
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_a_run_in_which_nothing_was_learned_still_has_a_report() -> None:
    rows = tuple(outcome(n, outcome="missed", included=(), accuracy=None) for n in (1, 2))
    for left in (rows, ()):
        told = page(FLEET, [structs.replace(SWEEP[0], rounds=left)])
        assert "<b>not</b>" in told
        assert told.count("<td>missed</td>") == len(left)


def test_tables_have_a_row_for_each_policy_and_an_interval_in_each_cell() -> None:
    found = compare(SWEEP)
    head, rows = table_rows(found)
    assert [row[0] for row in rows] == ["stalest", "random"]
    assert all(len(row) == len(head) for row in rows)
    assert "3 of 3" in rows[0]
    assert re.fullmatch(r"8\.1 \(\d\.\d to \d\.\d\)", rows[0][5])
    assert [row[0] for row in ratio_rows(found)[1]] == ["random"]


def test_intervals_and_lengths_are_short() -> None:
    assert words(Interval(2.0, 1.5, 2.5)) == "2.00 (1.50 to 2.50)"
    assert words(Interval(2.0, 2.0, 2.0)) == "2.00"
    assert [length(s) for s in (90, 7200, 200_000)] == ["90 s", "2.0 h", "2.3 d"]
