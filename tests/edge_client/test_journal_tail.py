"""The journal's tail: nothing unless allowed, only the allowed units, little of it."""

import json
import os
import subprocess
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from edge_client import readings
from edge_client.cli import app
from edge_client.config import EdgeConfig, Journal, load
from edge_client.journal_tail import command, tail, told
from edge_client.qpu_queue import FRESH, note, noted
from proto.errors import ConfigError
from proto.messages import Resources
from proto.tcp_info import Link

UNITS = Journal(units=("kernel", "power-watch.service"))


def entry(message: object, age: float = 60.0, now: float = 1e9) -> str:
    return json.dumps({"MESSAGE": message, "__REALTIME_TIMESTAMP": str(int((now - age) * 1e6))})


def stand_in(folder: Path, monkeypatch, script: str) -> Path:
    """A `journalctl` of this script, first on the PATH; it leaves its arguments in a file."""
    program = folder / "journalctl"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/called\n{script}\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "called"


def test_without_allowed_units_the_journal_is_not_even_looked_at(tmp_path, monkeypatch):
    called = stand_in(tmp_path, monkeypatch, f"echo '{entry('secret')}'")
    assert tail(Journal()) == ()
    assert readings.Board(tmp_path, EdgeConfig(), lambda: 0.0).read().journal == ()
    assert not called.exists()


def test_only_allowed_units_are_asked_for(tmp_path, monkeypatch):
    called = stand_in(tmp_path, monkeypatch, f"echo '{entry('Undervoltage detected!')}'")
    (line,) = tail(UNITS)
    assert line.endswith(" d ago: Undervoltage detected!")
    words = called.read_text().splitlines()
    assert words[-3:] == ["_SYSTEMD_UNIT=power-watch.service", "+", "_TRANSPORT=kernel"]
    assert command(("a.service", "b.service"))[-2:] == ["--unit=a.service", "--unit=b.service"]
    assert command(("kernel",))[-1] == "_TRANSPORT=kernel"


@pytest.mark.parametrize("unit", ["--all", "a b", "a\nb", "", "-k", "/x", "x" * 101])
def test_a_units_name_cannot_be_an_option(tmp_path, unit):
    (tmp_path / "edge.toml").write_text(f"[journal]\nunits = [{json.dumps(unit)}]\n")
    with pytest.raises(ConfigError, match="units"):
        load(tmp_path)


@pytest.mark.parametrize(
    "script", ["exit 1", "echo oops >&2; exit 1", "echo not json", "echo '[1]'", "exec sleep 9"]
)
def test_a_journal_that_cannot_be_read_is_no_tail_and_no_failure(tmp_path, monkeypatch, script):
    stand_in(tmp_path, monkeypatch, script)
    monkeypatch.setattr("edge_client.journal_tail.PATIENCE", 0.3)
    assert tail(UNITS) == ()


def test_a_machine_without_journalctl_has_no_tail(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tail(UNITS) == ()


def test_lines_are_redacted_told_once_and_fit_the_wire():
    lines = ["pump Nordhof at 10.0.0.7 hot", "pump Nordhof at 10.0.0.9 hot", [1, 2], "x" * 9000]
    lines += [f"line {at}" for at in range(30)]
    output = "\n".join(entry(line) for line in lines).encode()
    settings = Journal(units=("a",), hide=("nordhof",))
    found = told(output, settings, 1e9)
    assert found[0] == "1 min ago: pump * at * hot"
    assert len(found) == 6
    report = msgspec.msgpack.encode(Resources(journal=found))
    assert msgspec.msgpack.decode(report, type=Resources).journal == found
    assert len(told(output, Journal(units=("a",), lines=2), 1e9)) == 2


def test_the_journal_is_read_once_a_minute_and_the_link_is_asked_each_time(tmp_path, monkeypatch):
    called = stand_in(tmp_path, monkeypatch, f"echo '{entry('dips')}'")
    now = [0.0]
    board = readings.Board(tmp_path, EdgeConfig(journal=UNITS), lambda: now[0])
    board.link = lambda: Link(int(now[0]), 3)
    for at in (0.0, 6.0, 12.0):
        now[0] = at
        told_now = board.read()
        assert (told_now.link_kbps, told_now.link_loss, len(told_now.journal)) == (int(at), 3, 1)
        assert called.exists() == (at == 0)
        called.unlink(missing_ok=True)
    now[0] = 61.0
    board.read()
    assert called.exists()


def test_status_report_prints_the_lines_that_leave(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, f"echo '{entry('rail at 4.5 V on 10.1.2.3')}'")
    (tmp_path / "edge.toml").write_text('note = "ask Anna"\n[journal]\nunits = ["kernel"]\n')
    found = CliRunner().invoke(app, ["status", "--report", "--json", "--home", str(tmp_path)])
    report = json.loads(found.stdout)
    assert report["journal"][0].endswith("ago: rail at 4.5 V on *")
    assert report["note"] == "ask Anna"
    assert set(report) == {f.name for f in msgspec.structs.fields(Resources)}


def test_the_real_journalctl_accepts_what_it_is_asked():
    try:
        found = subprocess.run(command(("kernel",)), capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("no journalctl")
    assert b"option" not in found.stderr
    assert b"Failed to parse" not in found.stderr


def test_what_a_job_waited_for_its_machine_is_noted_for_the_agent(tmp_path):
    assert noted(tmp_path) is None
    note(tmp_path, 41.6)
    assert noted(tmp_path) == readings.read(tmp_path, "").qpu_queue_s == 42
    os.utime(tmp_path / "qpu_queue", (0, FRESH))
    assert noted(tmp_path) is None
    for text in ("nan", "-1", "soon", ""):
        (tmp_path / "qpu_queue").write_text(text)
        assert noted(tmp_path) is None
