"""A file of decisions is gone on with only by the teacher, scenarios and seed it was begun with."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from coordinator.decisionsfile import MAX_LINE, line_of, read_decisions
from coordinator.selection.examples import FORMAT, VERSION, Client, Decision, Header
from firmware_sim.begun import begun
from firmware_sim.cli import app
from firmware_sim.teach import Asked, How, teach
from proto.errors import ConfigError
from tests.firmware_sim.test_teacher import SMALL

HEADER = Header(
    format=FORMAT, version=VERSION, teacher="hindsight", seed=7, scenarios=("small 12ab",)
)


def decision(fleet: str, round_: int) -> Decision:
    client = Client(box="b1", features={"rows": 40.0}, join=0.5)
    return Decision(fleet=fleet, round=round_, cohort=1, clients=(client,))


def write(path: Path, *more: bytes) -> Path:
    lines = [line_of(decision(f"small/{seed}", at)) for seed in (7, 8) for at in (1, 2)]
    path.write_bytes(b"".join([line_of(HEADER), *lines, *more]))
    return path


def test_the_last_fleet_is_run_again_since_an_interruption_may_have_cut_it(tmp_path):
    path = write(tmp_path / "d.jsonl", b'{"fleet": "small/9", "rou')
    assert begun(path, HEADER) == {"small/7"}
    assert [d.fleet for d in read_decisions(path)[1]] == ["small/7", "small/7"]


@pytest.mark.parametrize("text", [b"", b"\n", b" \n\r\n"])
def test_an_empty_file_is_a_new_one(tmp_path, text):
    path = tmp_path / "d.jsonl"
    path.write_bytes(text)
    assert begun(path, HEADER) == set()
    assert read_decisions(path)[0] == HEADER


def test_a_header_that_lost_its_line_end_is_gone_on_with(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(line_of(HEADER).rstrip())
    assert begun(path, HEADER) == set()
    assert path.read_bytes() == line_of(HEADER)


def test_blank_lines_are_no_decisions_and_lose_none(tmp_path):
    path = write(tmp_path / "d.jsonl")
    path.write_bytes(b"\n" + path.read_bytes().replace(b"\n", b"\n\n", 3))
    assert begun(path, HEADER) == {"small/7"}
    assert [d.round for d in read_decisions(path)[1]] == [1, 2]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"teacher": "another"}, "the teacher hindsight, and is now to go on with another"),
        ({"seed": 1000}, "the first seed 7, and is now to go on with 1000"),
        ({"scenarios": ("small ffff",)}, "scenarios small 12ab, and is now to go on with small f"),
        ({"scenarios": ("other 12ab", "small 12ab")}, "go on with other 12ab, small 12ab"),
    ],
)
def test_what_another_teacher_began_is_refused_by_the_difference_and_left_alone(
    tmp_path, asked, said
):
    path = write(tmp_path / "d.jsonl")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=said) as told:
        begun(path, replace(HEADER, **asked))
    assert "name another file" in str(told.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"notes of mine\nmore notes\n", "line 1: JSON is malformed"),
        (b'{"a": 1}\n{"a": 2}\n', "line 1: Object"),
        (line_of(HEADER)[:30], "line 1: Input data was truncated"),
        (line_of(HEADER) + b"\n\xff\n" + line_of(decision("small/8", 1)), "line 3"),
        (line_of(HEADER) + b'{"fleeting": 1}\n', "line 2: Object"),
        (line_of(HEADER) + b'{"fleet": "small/7"}\n' + line_of(decision("small/8", 1)), "line 2"),
    ],
)
def test_a_file_that_holds_no_decisions_is_refused_and_keeps_every_byte(tmp_path, text, said):
    path = tmp_path / "d.jsonl"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=f"d.jsonl, {said}.*; name another file, or take"):
        begun(path, HEADER)
    assert path.read_bytes() == text


def a_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    "made",
    [lambda path: path.parent, a_pipe, lambda _: Path("/dev/zero")],
    ids=("a folder", "a pipe", "an endless file"),
)
def test_what_is_no_regular_file_is_refused_unread(tmp_path, made):
    path = made(tmp_path / "d.jsonl")
    with pytest.raises(ConfigError, match=f"^{path} is no regular file; name another file, or"):
        begun(path, HEADER)
    assert not path.is_file()


def test_a_name_that_cannot_be_looked_up_is_told(tmp_path):
    with pytest.raises(ConfigError, match="File name too long; name another"):
        begun(tmp_path / ("d" * 300), HEADER)


@pytest.mark.parametrize("before", [b"", line_of(HEADER)])
def test_a_line_without_end_is_read_no_further_than_its_cap(tmp_path, before):
    path = tmp_path / "d.jsonl"
    path.write_bytes(before)
    with path.open("r+b") as file:
        file.truncate(2**30)
    said = f"line {1 + bool(before)}: longer than {MAX_LINE} bytes; name another"
    with pytest.raises(ConfigError, match=said):
        begun(path, HEADER)
    assert path.stat().st_size == 2**30


def test_the_header_tells_a_scenario_that_was_changed_and_whether_objectives_are_its_own(tmp_path):
    scenario, out = tmp_path / "small.toml", tmp_path / "d.jsonl"
    scenario.write_text(SMALL)
    asked = Asked((scenario,), out, 1, 7)
    teach(asked, lambda *_: None)
    with pytest.raises(ConfigError, match="the scenarios' own objectives alone"):
        teach(asked._replace(how=How(objectives=False)), lambda *_: None)
    scenario.write_text("# what a comment says changes nothing\n" + SMALL)
    teach(asked, lambda *_: None)
    scenario.write_text(SMALL.replace("count = 3", "count = 4"))
    with pytest.raises(ConfigError, match=r"begun with scenarios small [0-9a-f]{12}, and is now"):
        teach(asked, lambda *_: None)


@pytest.mark.parametrize(
    ("name", "said"), [("gone.gguf", "gone.gguf"), ("gone.json", "cannot read")]
)
def test_a_leader_that_cannot_be_read_is_refused_before_any_fleet_runs(tmp_path, name, said):
    scenario, out = tmp_path / "small.toml", tmp_path / "d.jsonl"
    scenario.write_text(SMALL)
    call = ["teach", str(scenario), "-o", str(out), "--lead", str(tmp_path / name)]
    found = CliRunner().invoke(app, call)
    assert isinstance(found.exception, ConfigError)
    assert said in str(found.exception)
    assert not out.exists()
