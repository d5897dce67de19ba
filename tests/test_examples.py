"""Everything a reader is told to type or copy is accepted."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.main import get_command

from coordinator.broker_config import rights
from coordinator.cli import app as coordinator
from coordinator.taskfile import read, rules_of, task_of
from edge_client import config
from edge_client.cli import app as edge_client
from edge_client.config import EdgeConfig
from edge_client.dataset import load
from firmware_sim import demo
from firmware_sim.cli import app as fleet

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
TASKS = sorted(path.name for path in EXAMPLES.glob("*.toml") if path.name != "edge.toml")
PAGES = ("README.md", "CONTRIBUTING.md", "docs/operations.md", "deploy/README.md")
PROGRAMS: dict[str, Any] = {
    "coordinator": get_command(coordinator),
    "edge-client": get_command(edge_client),
    "fleet": get_command(fleet),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_file_of_the_examples_is_accepted(name):
    file = read(EXAMPLES / name)
    task = task_of(file, "fleet", 1)
    assert task.data.columns == file.data.columns
    assert rules_of(file).quorum >= 1


def test_the_example_of_breast_cancer_is_the_task_of_the_demo():
    shown = read(EXAMPLES / "breast_cancer.toml")
    trained = demo.task(load("sklearn:breast_cancer"), demo.Settings())
    assert msgspec.structs.replace(shown, job=demo.JOB) == trained


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("iris", "sklearn:iris"),
        ("wine", "sklearn:wine"),
        ("digits", "sklearn:digits"),
        ("digits_3v8", "sklearn:digits:3,8"),
    ],
)
def test_an_example_names_the_columns_and_classes_of_its_rows(name, source):
    shown, table = read(EXAMPLES / f"{name}.toml"), load(source)
    assert (shown.data.columns, shown.data.classes) == (table.columns, table.classes)
    text = (EXAMPLES / f"{name}.toml").read_text()
    assert f"--task examples/{name}.toml --data {source}" in text or name == "iris"


def test_the_settings_of_a_box_are_accepted_as_they_are(tmp_path, monkeypatch):
    _without_environment(monkeypatch)
    (tmp_path / "edge.toml").write_text((EXAMPLES / "edge.toml").read_text())
    assert config.load(tmp_path).data.source == str(tmp_path / "rows.csv")


def test_the_settings_of_a_box_are_all_there_with_their_defaults(tmp_path, monkeypatch):
    _without_environment(monkeypatch)
    text = (EXAMPLES / "edge.toml").read_text()
    shown = re.sub(r"^#(?=[a-z_]+ =)", "", text, flags=re.MULTILINE)
    (tmp_path / "edge.toml").write_text(shown)
    found, plain = config.load(tmp_path), EdgeConfig()
    data = msgspec.structs.replace(found.data, source="", target=None)
    assert msgspec.structs.replace(found, data=data) == plain
    for table in (plain, plain.data, plain.policy, plain.adapter):
        for name in table.__struct_fields__:
            assert re.search(rf"^\[?{name}(\]$| =)", shown, re.MULTILINE), name


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_a_page_exists(page):
    for line in _typed(ROOT / page):
        words = line.split()
        if words[0].startswith("scripts/"):
            assert (ROOT / words[0]).exists(), line
        elif words[0] in PROGRAMS:
            _check_words(words, line)


def test_the_rights_for_an_external_broker_hold_those_of_ours():
    text = (ROOT / "deploy" / "mosquitto-acl.txt").read_text()
    assert rights() in text


def _check_words(words: list[str], line: str) -> None:
    commands = PROGRAMS[words[0]].commands
    assert words[1] in commands, line
    known = {flag for param in commands[words[1]].params for flag in param.opts}
    if not commands[words[1]].context_settings.get("allow_extra_args"):
        assert {word for word in words if word.startswith("--")} <= known, line
    for word in words:
        assert not word.startswith("examples/") or (ROOT / word).exists(), line


def _typed(page: Path) -> list[str]:
    """Commands in the fenced shell blocks, without comments, prompts and who runs them."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in re.split(r"&&|\|", line)]
    return [re.sub(r"^(sudo -u \S+ )?(\S+/bin/)?", "", part) for part in parts if part]


def _without_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QFLEET_DATA", "QFLEET_TARGET", "QFLEET_NOTE"):
        monkeypatch.delenv(name, raising=False)
