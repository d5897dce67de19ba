import json
from pathlib import Path

import pytest

from firmware_sim.contest import Asked, Wanted, run, tell
from proto.errors import ConfigError
from tests.firmware_sim.small import SMALL

pytest.importorskip("matplotlib")


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return Asked(path, ("stalest", "random"), range(2))


def test_a_comparison_is_printed_kept_and_reported(
    asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(asked, shown=False)
    wanted = Wanted(tmp_path / "report.html", tmp_path / "runs.json", json=True)
    tell(asked, results, wanted)
    found = json.loads(capsys.readouterr().out)
    assert [row["policy"] for row in found["rows"]] == ["stalest", "random"]
    assert found["seeds"] == [0, 1]
    assert len(json.loads((tmp_path / "runs.json").read_text())) == 4
    assert "Policies against the first" in (tmp_path / "report.html").read_text()
    tell(asked, results, Wanted(None, None, json=False))
    table = capsys.readouterr().out
    assert "Paired by seed" in table
    assert all(measure in table for measure in ("hits", "kJ", "deaths", "Jain", "waste"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": "warp"}, "engine is warp; accepted: one of virtual, ray"),
        ({"policies": ("best",)}, "policy is best; accepted: one of"),
        ({"engine": "ray", "costs": Path("x")}, "costs is for the engine virtual"),
        ({"costs": Path("none.toml")}, "cannot read none.toml"),
        ({"scenario": Path("none.toml")}, "cannot read none.toml"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_runs(
    asked: Asked, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        run(asked._replace(**changes), shown=False)
