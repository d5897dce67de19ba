"""What boxes say stands in tables as they said it: neither markup nor a terminal's commands."""

import pytest

from coordinator import tables

EVIL = "[/bold] [red]all well[/red] \x1b[2J\x07 \u202egnp"
TOLD = "[/bold] [red]all well[/red] ?[2J? ?gnp"
FIGURES = {"seconds": None, "bytes": 10}


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")


def test_a_note_of_a_box_is_shown_as_it_is(capsys):
    row = {"box": "b", "state": "online", "seen": 1.0, "key": "k", "resources": {"note": EVIL}}
    tables.clients([row], 2.0)
    assert TOLD in capsys.readouterr().out


def test_why_a_box_takes_no_part_is_shown_as_it_is(capsys):
    out = {"box": "b", "rows": 0, "reason": EVIL}
    told = {"job": "j", "phase": "stopped", "reason": EVIL, "boxes": [out], "history": []}
    tables.job({**told, "asynchronous": False, "waiting_for": []})
    assert capsys.readouterr().out.count(TOLD) == 2


def test_words_that_mattered_and_refusals_are_shown_as_they_are(capsys):
    row = {
        "turn": 1,
        "policy": "agent",
        "cohort": ["b"],
        "scores": {"b": 0.5},
        "steps": {},
        "hand_rule": ["b"],
        "forecast": FIGURES,
        "came": {"outcome": "done", "not_delivered": [], **FIGURES},
        "refused": {"c": EVIL},
        "fallback": EVIL,
        "prices": {},
        "words": {"b": [{"word": EVIL, "effect": -0.014}]},
    }
    tables.decisions([row])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "-0.01" in said
    assert said.count("?[2J?") == 3
