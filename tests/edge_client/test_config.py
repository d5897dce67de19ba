"""A box's settings: file, then environment; errors name the key and what it would accept."""

from pathlib import Path

import pytest

from edge_client.config import Data, EdgeConfig, home_of, load, write_data
from proto.errors import ConfigError


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("HOME", "DATA", "TARGET", "NOTE"):
        monkeypatch.delenv(f"QFLEET_{name}", raising=False)


def written(home: Path, text: str) -> Path:
    (home / "edge.toml").write_text(text)
    return home


def test_without_a_file_there_are_sensible_defaults(tmp_path):
    assert load(tmp_path) == EdgeConfig()
    assert load(tmp_path).policy.kinds == ("circuit", "adapter", "hybrid")


def test_a_relative_source_is_beside_the_file(tmp_path):
    written(tmp_path, '[data]\nsource = "rows.csv"\n')
    assert load(tmp_path).data.source == str(tmp_path / "rows.csv")


@pytest.mark.parametrize("source", ["/srv/rows.csv", "sklearn:iris"])
def test_a_whole_source_is_taken_as_it_is(tmp_path, source):
    written(tmp_path, f'[data]\nsource = "{source}"\n')
    assert load(tmp_path).data.source == source


def test_the_environment_wins_over_the_file(tmp_path, monkeypatch):
    written(tmp_path, 'note = "file"\n[data]\nsource = "file.csv"\ntarget = "file"\n')
    for name, value in (("DATA", "sklearn:wine"), ("TARGET", "kind"), ("NOTE", "on a train")):
        monkeypatch.setenv(f"QFLEET_{name}", value)
    config = load(tmp_path)
    assert config.data == Data(source="sklearn:wine", target="kind")
    assert config.note == "on a train"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keepalive = 1", r">= 5.*`keepalive`"),
        ("linger = -1.0", r">= 0.0.*`linger`"),
        ('[data]\nsauce = "x"', r"unknown field `sauce`.*`data`"),
        ("[data]\ntest = 0.9", r"<= 0.5.*`data.test`"),
        ("[policy]\nmax_qubits = 13", r"<= 12.*`policy.max_qubits`"),
        ('[policy]\nmoments = "no"', r"Expected `bool`, got `str`.*`policy.moments`"),
        ("nonsense", "(line 1|end of document)"),
    ],
)
def test_an_error_names_the_key_and_what_is_accepted(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        load(written(tmp_path, text))


def test_a_file_far_too_large_is_not_read(tmp_path):
    with pytest.raises(ConfigError, match="larger than"):
        load(written(tmp_path, "#" * 70_000))


def test_a_boxs_folder_is_the_flag_else_the_environment_else_the_default(monkeypatch):
    assert home_of(None) == Path("~/.local/share/qfleet/box").expanduser()
    monkeypatch.setenv("QFLEET_BOX_HOME", "/srv/box")
    assert home_of(None) == Path("/srv/box")
    assert home_of("/tmp/other") == Path("/tmp/other")


@pytest.mark.parametrize("name", ["rows.csv", 'r"o\\w\ts.csv', "größe.csv"])
def test_what_joining_writes_down_is_read_back(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "home", name, 'the "kind"')
    data = load(tmp_path / "home").data
    assert (data.source, data.target) == (str(tmp_path / name), 'the "kind"')


def test_settings_a_person_wrote_are_never_overwritten(tmp_path):
    written(tmp_path, "keepalive = 60\n")
    with pytest.raises(ConfigError, match="exists"):
        write_data(tmp_path, "rows.csv", "")
    assert load(tmp_path).keepalive == 60
