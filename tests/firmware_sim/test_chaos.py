"""Chaos itself: that cuts strike, that all states are reached, and that harm would be seen."""

from pathlib import Path

import pytest

from firmware_sim import chaos
from firmware_sim.cuts import KINDS, Cut, Killed, Step
from proto.errors import QfleetError


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("chaos") / "template"
    chaos._join(home)
    return home


@pytest.fixture(scope="module")
def quiet(template: Path, tmp_path_factory: pytest.TempPathFactory):
    run = chaos._Run(template, tmp_path_factory.mktemp("quiet") / "run", None)
    return run.end(), run.saboteur.steps


def test_a_thousand_cuts_reach_every_state_of_both_tables(quiet):
    _, steps = quiet
    cuts = chaos.all_cuts(steps)
    states = {part for cut in cuts for part in cut.step.state.split("/")}
    assert len(cuts) >= 1000
    assert states == {
        *("offline", "announced", "secured", "idle", "fetching", "training"),
        *("waiting", "collecting", "folding", "publishing", "stopped"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_cuts_while_training_and_while_folding_leave_no_trace(template, quiet, tmp_path, kind):
    end, steps = quiet
    at_box = next(s for s in steps if s.event == "Trained")
    at_round = [s for s in steps if s.event == "Folded"][1]
    for step in (at_box, at_round):
        assert chaos._try(template, tmp_path / f"{step.actor}", Cut(kind, step), end) is None


def test_harm_is_seen(template, quiet, tmp_path, monkeypatch):
    """An outbox that forgets at a kill is found out by the model, the rounds or a lack of them."""
    end, steps = quiet
    step = [s for s in steps if s.event == "Trained"][4]
    bury = chaos._Run._bury

    def forgetful(run, actor: str) -> None:
        bury(run, actor)
        if actor == step.actor:
            (run._home / actor / "spool.journal").unlink(missing_ok=True)
            (run._home / f"{actor}.csv").write_text("a,b,level\n" + "1.0,2.0,high\n" * 24)

    monkeypatch.setattr(chaos._Run, "_bury", forgetful)
    assert chaos._try(template, tmp_path / "cut", Cut("kill-after", step), end) is not None


def test_a_step_that_does_not_come_is_no_pass(template, quiet, tmp_path):
    nowhere = Step("box-1", 10_000, "secured/idle", "OfferSeen")
    assert chaos._try(template, tmp_path / "cut", Cut("delay", nowhere), quiet[0]) == (
        "its step did not come"
    )


def test_few_cuts_are_spread_over_all_sorts(quiet):
    cuts = chaos.all_cuts(quiet[1])
    few = list(chaos.chosen(cuts, 40))
    assert len(few) == len(set(few)) == 40
    assert {cut.kind for cut in few} == set(KINDS)
    assert {cut.step.actor for cut in few} >= {"coordinator", "box-1"}
    assert list(chaos.chosen(cuts, 0)) == cuts


def test_death_is_no_error_that_code_could_catch_by_mistake():
    assert not issubclass(Killed, Exception)
    assert not issubclass(Killed, QfleetError)
