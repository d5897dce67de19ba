"""The command `fleet` as people type it."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from coordinator.selection.features import FEATURES
from coordinator.selection.weights import Head, Weights
from coordinator.weightsfile import write_weights
from firmware_sim import cli, commands
from firmware_sim.outcome import Result
from firmware_sim.show import show_reading
from tests.firmware_sim.small import SMALL


@pytest.fixture
def fleet(tmp_path, monkeypatch, capsys):
    """Runs `fleet WORDS`; its exit code and what it printed."""
    (tmp_path / "small.toml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)

    def typed(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["fleet", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        told = capsys.readouterr()
        return int(left.value.code or 0), told.out, told.err

    return typed


def test_a_run_prints_its_rounds_and_keeps_what_it_is_asked_to(fleet):
    code, out, _ = fleet("run", "small.toml", "--trace", "log", "--record", "rounds")
    assert code == 0
    assert "2 train" in out
    assert "finished" in out
    assert Path("log").stat().st_size > 1000
    code, out, _ = fleet("replay", "rounds", "--json")
    assert code == 0
    assert len(json.loads(out)["rounds"]) == 4
    code, out, _ = fleet("replay", "rounds")
    assert (code, "NOT AS RECORDED" in out) == (0, False)


def test_a_run_in_json_has_one_result_a_seed_and_its_report_stands_alone(fleet):
    pytest.importorskip("matplotlib")
    words = ("run", "small.toml", "--seeds", "2", "--policy", "random", "--json")
    code, out, _ = fleet(*words, "--report", "report.html")
    results = json.loads(out)
    assert code == 0
    assert [(r["seed"], r["policy"], r["phase"]) for r in results] == [
        (0, "random", "finished"),
        (1, "random", "finished"),
    ]
    html = Path("report.html").read_text()
    assert "small" in html
    assert not re.search(r"(src|href)=.?(http|/)", html)


def test_a_record_that_went_another_way_fails(fleet):
    killed = '[[script]]\ndo = "kill-coordinator"\nstate = "collecting"\nround = 2\n'
    Path("killed.toml").write_text(SMALL + killed)
    fleet("run", "killed.toml", "--record", "rounds", "--json")
    lines = Path("rounds").read_bytes().splitlines(keepends=True)
    first = next(at for at, line in enumerate(lines) if b'"event":"Published"' in line)
    Path("rounds").write_bytes(b"".join(lines[:first] + lines[first + 1 :]))
    code, out, _ = fleet("replay", "rounds")
    assert code == 1
    assert "NOT AS RECORDED" in out


def test_policies_are_compared(fleet):
    code, out, _ = fleet("compare", "small.toml", "--seeds", "2", "--json")
    assert code == 0
    assert [row["policy"] for row in json.loads(out)["rows"]] == ["stalest", "random"]


def test_a_few_cuts_leave_no_trace(fleet):
    code, out, _ = fleet("chaos", "--cuts", "4", "--json")
    found = json.loads(out)
    assert (code, found["cuts"], found["failures"]) == (0, 4, [])


def test_a_policy_takes_its_weights_and_constants_from_the_scenario(fleet):
    count = len(FEATURES)
    head = Head(weights=(0.0,) * count, bias=0.5)
    blank = (0.0,) * count
    weights = Weights(
        version=1,
        features=tuple(FEATURES),
        mean=blank,
        scale=(1.0,) * count,
        join=head,
    )
    write_weights(Path("student.json"), weights)
    more = '[work.selection]\nweights = "student.json"\n[work.selection.budget]\nasks = 1\n'
    Path("linear.toml").write_text(SMALL.replace("quorum", 'policy = "linear"\nquorum') + more)
    code, out, _ = fleet("run", "linear.toml", "--json")
    (result,) = json.loads(out)
    assert (code, result["policy"], result["phase"]) == (0, "linear", "finished")
    asked = [n for row in result["rounds"] if row["kind"] == "train" for n in row["asked"]]
    assert sorted(asked) == [1, 2, 3, 4]
    Path("student.json").unlink()
    code, _, err = fleet("run", "linear.toml")
    assert code == 2
    assert "cannot read student.json" in err


MARKUP = "[/b]\x1b[2J[red]"
"""A closing tag that nothing opened, and an order to the terminal."""


@pytest.mark.parametrize(
    "words",
    [
        ("run", "odd.toml"),
        ("compare", "odd.toml", "--policies", "random", "--seeds", "1", "--report", "[b]"),
        ("teach", "odd.toml", "-o", "d.jsonl", "--fleets", "1"),
    ],
    ids=lambda words: words[0],
)
def test_a_scenarios_name_is_shown_as_it_is(fleet, words):
    """In the progress bar, too."""
    Path("odd.toml").write_text(SMALL.replace('"small"', json.dumps(MARKUP)))
    code, out, err = fleet(*words)
    assert code == 0
    assert "[/b]?[2J[red]" in (err if words[0] == "teach" else out)
    assert "\x1b[2J" not in out + err
    assert ("/[b]" in out) == ("--report" in words)


def test_a_jobs_name_in_a_record_is_shown_as_it_is(fleet):
    fleet("run", "small.toml", "--record", "rounds", "--json")
    record = Path("rounds").read_text()
    named = json.dumps(MARKUP)
    Path("rounds").write_text(record.replace('"job":"fleet"', f'"job":{named}'))
    code, out, _ = fleet("replay", "rounds")
    assert (code, "[/b]?[2J[red]" in out) == (0, True)


def test_why_a_run_ended_and_why_boxes_declined_is_shown_as_it_is(fleet, capsys):
    _, out, _ = fleet("run", "small.toml", "--json")
    (result,) = msgspec.json.decode(out, type=list[Result])
    commands.show([replace(result, reason=MARKUP, refusals={MARKUP: 2})])
    assert capsys.readouterr().out.count("[/b]?[2J[red]") == 2


def test_what_a_demo_read_and_where_it_left_its_files_is_shown_as_it_is(capsys):
    told = {"text": MARKUP, "answer": MARKUP}
    counts = {"clients": 1, "test_rows": 1, "cpu_s": 1.0, "seconds": 1.0}
    show_reading(counts | {"task": "sms", "sample": told, "files": [MARKUP]})
    assert capsys.readouterr().out.count("[/b]?[2J[red]") == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "none.toml"), "cannot read none.toml"),
        (
            ("run", "small.toml", "--engine", "warp"),
            "engine is warp; accepted: one of processes",
        ),
        (("run", "small.toml", "--policy", "best"), "policy is best; accepted: one of"),
        (("run", "small.toml", "--links"), "links is set for the engine virtual; accepted: links"),
        (("run", "small.toml", "--engine", "ray", "--costs", "x"), "costs is given for the engine"),
        (("run", "small.toml", "--seeds", "2", "--trace", "x"), "trace is given for 2 seeds"),
        (
            ("run", "small.toml", "--engine", "processes", "--record", "x"),
            "record is given for the engine processes; accepted: record for virtual and ray",
        ),
        (("replay", "small.toml"), "small.toml"),
    ],
)
def test_what_is_asked_wrongly_is_told_with_exit_code_2(fleet, words, said):
    code, _, err = fleet(*words)
    assert code == 2
    assert said in err


@pytest.mark.parametrize(
    ("words", "accepted"),
    [
        (("run", "small.toml", "--seed", "-1"), "from 0 to 4294967295"),
        (("run", "small.toml", "--seed", "4294967296"), "from 0 to 4294967295"),
        (("run", "small.toml", "--seeds", "0"), "from 1"),
        (("compare", "small.toml", "--first", "-1"), "from 0 to 4294967295"),
        (("compare", "small.toml", "--seeds", "-3"), "from 1"),
        (("teach", "small.toml", "-o", "d", "--first", "-1"), "from 0 to 4294967295"),
        (("teach", "small.toml", "-o", "d", "--fleets", "0"), "from 1"),
        (("teach", "small.toml", "-o", "d", "--processes", "-4"), "from 1"),
        (("demo", "--seed", "-1"), "from 0 to 4294967295"),
        (("demo", "--clients", "0"), "from 1"),
        (("demo", "--rounds", "-1"), "from 1"),
        (("chaos", "--cuts", "-5"), "from 0"),
        (
            ("run", "small.toml", "--seed", "4294967295", "--seeds", "2"),
            "from 1 to 1 with --seed 4294967295",
        ),
        (
            ("compare", "small.toml", "--first", "4294967290", "--seeds", "7"),
            "from 1 to 6 with --first 4294967290",
        ),
        (
            ("teach", "small.toml", "-o", "d", "--first", "1", "--fleets", "4294967296"),
            "from 1 to 4294967295 with --first 1",
        ),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_a_number_out_of_range_is_told_with_what_is_accepted(fleet, words, accepted):
    code, _, err = fleet(*words)
    assert code == 2
    assert err == f"fleet: {words[-2]} is {words[-1]}; accepted: a whole number {accepted}\n"
    assert not Path("d").exists()
