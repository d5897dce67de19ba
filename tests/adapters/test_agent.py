"""The agent: a language model that is asked who trains, within bounds that it cannot leave."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from coordinator import tables
from coordinator.agent.advisor import Agent
from coordinator.agent.asking import Asking, advice_of
from coordinator.agent.engine import Answer, judge_beside, open_mind, stop_beside
from coordinator.agent.explain import spans, strongest, without
from coordinator.agent.memory import Memory
from coordinator.agent.review import explained
from coordinator.cli import app
from coordinator.considering import consideration
from coordinator.job import Job
from coordinator.jobstate import Consider, JobState, Rules, new_job, request_of
from coordinator.reports import decisions
from coordinator.selection.advice import SHARES, Advice
from coordinator.selection.candidates import Candidate
from coordinator.selection.constants import Agent as Limits
from coordinator.selection.plan import field_of, plan
from coordinator.selection.prompt import AIMS, COUNTS, JOIN, OURS, STEPS, prefix_of
from coordinator.selection.weights import Head, Weights
from coordinator.selection.words import edges_of
from coordinator.store import Store
from coordinator.taskfile import Selection, Steps, task_of
from coordinator.weightsfile import write_weights
from firmware_sim.fleet import Fleet
from proto.errors import ConfigError
from proto.messages import TRAIN, Resources
from tests.adapters.agents import write_agent, write_base
from tests.adapters.tiny import write_graphs
from tests.flow.test_faults import finish, make, task

NOTES = ("all well", "fan broken", "", "metered link until friday", "smells", "new card")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    for library in ("onnxruntime", "tokenizers", "gguf", "onnx"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("agent")
    before = {name: os.environ.get(name) for name in ("QFLEET_GRAPHS", "QFLEET_CACHE")}
    os.environ["QFLEET_GRAPHS"] = str(write_graphs(folder / "graphs"))
    os.environ["QFLEET_CACHE"] = str(folder / "cache")
    yield write_base(folder / "base.gguf")
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    return write_agent(base.with_name("agent.gguf"), base)


def boxes() -> tuple[Candidate, ...]:
    return tuple(
        Candidate(f"b{at}", 40, resources=Resources(battery=50 + 9 * at, note=note))
        for at, note in enumerate(NOTES)
    )


def job(adapter: Path, **limits) -> JobState:
    from coordinator.selection.constants import Constants

    rules = Rules(
        rounds=9, cohort=2, quorum=2, deadline=60.0, gather=1.0, scorer="agent", seed=0,
        steps=8, adapter=str(adapter), constants=Constants(agent=Limits(**limits)),
    )  # fmt: skip
    return new_job("job", rules, moments=False)


def advise(agent: Agent, state: JobState, now: float = 0.0) -> Advice | None:
    request = request_of(state, Consider(boxes(), 1))
    return agent.advise(state, boxes(), request, now)


@pytest.mark.parametrize("engine", ["onnx", "llama"])
def test_either_engine_reads_the_labels_alone_and_an_answer_is_its_questions_own(
    base, adapter, engine
):
    if engine == "llama":
        pytest.importorskip("llama_cpp")
    questions = [f'note "{note}" battery low\nask it?' for note in NOTES]
    with open_mind(str(adapter), engine, str(base)) as mind:
        assert mind.engine == engine
        assert (mind.model.facts.blocks, mind.model.whole) == (3, False)  # an early exit
        together = mind.answer(prefix_of(""), questions)
        alone = [mind.answer(prefix_of(""), [question])[0] for question in questions]
    for a, b in zip(together, alone, strict=True):
        assert 0 < a.join < 1
        assert sum(a.steps) == pytest.approx(1)
        np.testing.assert_allclose((a.join, *a.steps), (b.join, *b.steps), atol=1e-5)
    assert len({round(answer.join, 4) for answer in together}) == len(NOTES)


def test_both_engines_answer_alike(base, adapter):
    pytest.importorskip("llama_cpp")
    found = []
    for engine in ("onnx", "llama"):
        with open_mind(str(adapter), engine, str(base)) as mind:
            found.append([a.join for a in mind.answer(prefix_of(""), list(NOTES[:2]))])
    np.testing.assert_allclose(*found, atol=0.1)


def test_what_was_answered_once_is_not_worked_out_again(base, adapter):
    agent = Agent("onnx", str(base), beside=False)
    state = job(adapter)
    first = advise(agent, state)
    asked = agent._pupils[str(adapter)].memory
    known = len(asked)
    assert first == advise(agent, state)
    assert len(asked) == known == 5
    covered = field_of(boxes(), request_of(state, Consider(boxes(), 1))).covered
    assert set(first.scores) == {candidate.box for candidate in covered}
    assert len(covered) == 5 < len(boxes())
    assert advise(agent, replace(state, rules=replace(state.rules, objective="hurry"))) != first
    assert len(asked) == 10
    agent.close()
    assert advise(agent, state).remark == "the agent was closed"


def test_an_agent_beside_the_loop_is_asked_again_until_it_is_late(base, adapter):
    agent = Agent("onnx", str(base))
    state = job(adapter, seconds=5.0)
    assert advise(agent, state, 100.0) is None
    late = advise(agent, state, 106.0)
    assert (late.scores, late.remark) == (None, "the agent took longer than 5 s")
    # What it was at goes on, and serves the next round.
    while (found := advise(agent, state, 200.0)) is None:
        pass
    agent.close()
    assert len(found.scores) == 5


def test_an_agent_that_is_closed_does_not_wait_for_the_question_it_is_at(base, tmp_path):
    endless = tmp_path / "never.gguf"
    os.mkfifo(endless)  # opening it waits for somebody to write
    agent = Agent("onnx", str(base))
    state = job(endless)
    assert advise(agent, state) is None
    assert agent.thinking(state, 1.0)
    assert not agent.thinking(state, 1000.0)  # its time is up: the hand rule's turn
    agent.close()
    work = agent._pupils[str(endless)].work
    assert work is not None
    assert not work.done()
    endless.open("wb").close()
    work.result(60)
    assert advise(agent, state).remark == "the agent was closed"


def test_while_the_agent_thinks_its_job_asks_nothing_of_the_store(base, tmp_path):
    endless = tmp_path / "never.gguf"
    os.mkfifo(endless)
    agent = Agent("onnx", str(base))
    state = job(endless)
    store = Store(tmp_path / "store.db")
    store.close()
    held = Job(state, task_of(task(), "fleet", 0), b"", b"")
    assert advise(agent, state) is None
    assert consideration(store, held, {}, agent, 1.0) is None
    agent.close()
    endless.open("wb").close()
    agent._pupils[str(endless)].work.result(60)
    with pytest.raises(Exception, match="closed"):
        consideration(store, held, {}, agent, 2.0)


def test_a_round_has_a_budget_of_questions_and_the_rest_follows(base, adapter):
    agent = Agent("onnx", str(base), beside=False)
    found = [advise(agent, job(adapter, prompts=4)) for _ in range(2)]
    agent.close()
    assert [advice.scores is None for advice in found] == [True, False]
    assert "5 new questions" in found[0].remark


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(float("nan"), (1.0, 0.0, 0.0, 0.0)), "b0 is no chance"),
        (Answer(1.5, (1.0, 0.0, 0.0, 0.0)), "b0 is no chance"),
        (Answer(0.5, (float("inf"), 0.0, 0.0, 0.0)), "b0 is no chance"),
        (Answer(0.5, ()), "b0 is no chance"),
    ],
)
def test_an_answer_that_is_no_chance_leaves_the_round_to_the_hand_rule(answer, said):
    good = Answer(0.5, (1.0, 0.0, 0.0, 0.0))
    asked = Asking("p", {"b0": "x", "b1": "y"}, "", edges_of([]))
    advice = advice_of(asked, {("p", "x"): answer, ("p", "y"): good})
    made = plan(boxes()[:2], replace_advice(advice))
    assert said in made.fallback
    assert made.cohort == plan(boxes()[:2], replace_advice(None, "stalest")).cohort


def replace_advice(advice: Advice | None, scorer: str = "agent"):
    from coordinator.selection.request import Request

    return Request(scorer, 1, 0, 1, advice=advice)


def test_memory_forgets_what_was_not_used_for_longest():
    memory = Memory(2)
    for number in range(3):
        memory.put(("p", str(number)), Answer(0.5, (1.0,)))
        memory.of([("p", "0")])
    assert memory.missing([("p", "0"), ("p", "1"), ("p", "2"), ("p", "1")]) == [("p", "1")]


# --- whole jobs -----------------------------------------------------------------------------------


def whole(home: Path, base: Path, adapter: str, rounds: int = 3, **agent) -> Fleet:
    fleet = make(home)
    fleet.advisor = Agent("onnx", str(base), beside=False)
    fleet.kill_coordinator()
    fleet.start_coordinator()
    file = task(rounds, policy="agent", cohort=2, quorum=2)
    chosen = Selection(weights=adapter, agent=Limits(**agent))
    fleet.submit(
        replace(
            file, selection=chosen, steps=Steps(rule="agent"), objective="Spare <b>batteries</b>"
        )
    )
    finish(fleet)
    fleet.advisor.close()
    return fleet


def test_the_steps_a_box_does_are_the_class_its_logits_name(tmp_path, base, adapter):
    fleet = whole(tmp_path, base, str(adapter))
    rows = [row for row in fleet.store.rounds("job") if row.kind == TRAIN]
    told = [d for d in decisions(fleet.store, "job") if d["kind"] == "train"]
    labels = [*JOIN, *STEPS]
    different = set()
    for row, decision in zip(rows, told, strict=True):
        assert decision["fallback"] == ""
        assert "spare b batteries /b" in decision["prefix"]
        done = {m.box: m for m in fleet.store.metrics(row.turn)}
        for box in decision["cohort"]:
            steps = logits(base, adapter, decision["prefix"] + decision["questions"][box], labels)
            wanted = max(1, int(2 * SHARES[int(np.argmax(steps[len(JOIN) :]))] + 0.5))
            assert done[box].metrics.steps == wanted
            different.add(wanted)
    assert different != {2}  # the task's own


def logits(base: Path, adapter: Path, text: str, words: list[str]) -> np.ndarray:
    """By the graphs for training, another way than the agent's."""
    from quantization.adapters.files import read_adapter
    from quantization.runtime.model import open_model, shortened
    from quantization.runtime.sessions import Batch, Task, open_forward, open_trunk, padded

    with open_model(str(base)) as model:
        held = read_adapter(adapter, model.facts, model.sha256)
        short = shortened(model, held.first + held.blocks)
        ids, last = padded([short.tokens.encode(text)])
        hidden = open_trunk(short, held.blocks).run(ids)
        head = short.head([short.tokens.single(word) for word in words])
        forward = open_forward(short, held.blocks)
        batch = Batch(hidden, last)
        return forward.log_probabilities(held.arrays, Task(head, held.scale), batch)[0]


def test_the_agent_ends_a_job_once_it_sees_too_little_to_gain(tmp_path, base, adapter):
    fleet = whole(tmp_path, base, str(adapter), 9, stop=0.01)
    done = [r for r in fleet.store.rounds("job") if r.kind == TRAIN and r.outcome == "done"]
    assert len(done) == 1
    assert any(
        "the agent sees too little to gain" in row.text for row in fleet.store.said("job", 0)
    )


def test_a_regression_beside_the_adapter_says_when_to_stop_and_the_model_is_not_asked(
    tmp_path, base, adapter
):
    own = tmp_path / "own.gguf"
    own.write_bytes(adapter.read_bytes())
    head = Head(weights=(9.0,), bias=0.0)
    write_weights(
        stop_beside(own),
        Weights(version=1, features=("done",), mean=(0.5,), scale=(0.1,), join=head),
    )
    agent, found = Agent("onnx", str(base), beside=False), {}
    for done in (1, 8):
        state = replace(job(own, stop=0.9), round=done, losses=(0.5, 0.4))
        found[done] = advise(agent, state).stop
    agent.close()
    assert found[1] == pytest.approx(1 / (1 + np.exp(9 * (0.5 - 1 / 9) / 0.1)))
    assert found[8] > 0.99
    write_weights(stop_beside(own), JUDGE)
    with pytest.raises(ConfigError, match=r"own.stop.json: features .* know: battery_beside"):
        open_mind(str(own), "onnx", str(base)).__enter__()


def test_an_agent_fills_the_places_of_asynchronous_rounds(tmp_path, base, adapter):
    fleet = make(tmp_path)
    fleet.advisor = Agent("onnx", str(base), beside=False)
    fleet.kill_coordinator()
    fleet.start_coordinator()
    table = {"kind": "async", "concurrency": 2, "buffer": 2, "cohort": 0, "quorum": 1}
    file = task(3, policy="agent", **table)
    fleet.submit(replace(file, selection=Selection(weights=str(adapter))))
    finish(fleet)
    fleet.advisor.close()
    told = [d for d in decisions(fleet.store, "job") if d["kind"] == "train" and d["cohort"]]
    assert len(told) >= 2
    assert all(d["fallback"] == "" and d["prefix"] == prefix_of("") for d in told)
    assert all(d["questions"][box] for d in told for box in d["cohort"])
    assert (
        len([r for r in fleet.store.rounds("job") if r.kind == TRAIN and r.outcome == "done"]) == 3
    )


def test_without_the_base_model_the_hand_rule_decides_and_the_log_says_how_to_get_it(
    tmp_path, base, adapter
):
    fleet = whole(tmp_path, Path("smollm2-135m"), str(adapter))
    told = [d for d in decisions(fleet.store, "job") if d["kind"] == "train"]
    assert len(told) == 3
    assert all("run: quantize pull smollm2-135m" in d["fallback"] for d in told)
    said = [row.text for row in fleet.store.said("job", 0)]
    assert any("by the hand rule" in text and "quantize pull" in text for text in said)


@pytest.mark.parametrize(
    ("damage", "said"), [(lambda b: b[: len(b) // 2], "cut off"), (lambda _: b"x", "GGUF")]
)
def test_a_damaged_adapter_leaves_the_job_to_the_hand_rule(tmp_path, base, adapter, damage, said):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(damage(adapter.read_bytes()))
    fleet = whole(tmp_path / "home", base, str(bad))
    told = [d for d in decisions(fleet.store, "job") if d["kind"] == "train"]
    assert all(said in d["fallback"] for d in told)


def test_a_recorded_job_replays_without_any_model(tmp_path, base, adapter):
    from coordinator.recording import Recorder
    from firmware_sim.replay import replay

    home = tmp_path / "home"
    fleet = make(home)
    fleet.advisor, fleet.record = Agent("onnx", str(base), beside=False), Recorder(tmp_path / "r")
    fleet.kill_coordinator()
    fleet.start_coordinator()
    file = task(2, policy="agent", cohort=2, quorum=2)
    fleet.submit(replace(file, selection=Selection(weights=str(adapter))))
    finish(fleet)
    fleet.advisor.close()
    asked = [tuple(d["cohort"]) for d in decisions(fleet.store, "job") if d["kind"] == "train"]
    found = replay(tmp_path / "r")
    assert [r.asked for r in found.rounds if r.kind == "train"] == asked
    assert found.untrue == ()


def test_words_that_mattered_are_found_by_leaving_each_out(base, adapter):
    question = 'log "fan stuck"\nnote "all well"\nbattery good charging packet loss some\nask it?'
    assert [question[a:b] for a, b in spans(question)] == [
        "fan", "stuck", "all", "well", "battery good charging", "packet loss some",
    ]  # fmt: skip
    left_out = [without(question, span) for span in spans(question)]
    assert left_out[0] == question.replace("fan ", "")
    assert left_out[3] == question.replace(" well", "")
    assert left_out[5] == question.replace(" packet loss some", "")
    with open_mind(str(adapter), "onnx", str(base)) as mind:
        found = strongest(mind, prefix_of(""), question)
        full, part = mind.answer(prefix_of(""), [question, question.replace(" well", "")])
    assert [abs(word.effect) for word in found] == sorted(
        (abs(word.effect) for word in found), reverse=True
    )
    well = next(word.effect for word in found if word.text == "well")
    odds = [np.log(a.join / (1 - a.join)) for a in (full, part)]
    assert well == pytest.approx(odds[0] - odds[1], abs=1e-4)


def test_decisions_of_an_agent_are_explained_on_request(tmp_path, base, adapter):
    fleet = whole(tmp_path, base, str(adapter))
    store = fleet.open_store()
    rows = explained(store, "job", decisions(store, "job"), str(base))
    newest = [row for row in rows if row["kind"] == "train"][-1]
    assert set(newest["words"]) == set(newest["cohort"])
    assert [row for row in rows if "words" in row] == [newest]
    with pytest.raises(ConfigError, match="no agent decided"):
        explained(store, "job", decisions(store, "job", rows[-1]["turn"]), str(base))
    with pytest.raises(ConfigError, match="has no turn 99"):
        decisions(store, "job", 99)
    tables.decisions(rows)


def test_the_command_says_of_each_round_what_the_agent_answered(tmp_path, base, adapter):
    fleet = whole(tmp_path, base, str(adapter))
    call = ["decisions", "job", "--home", str(fleet.home / "coordinator")]
    found = CliRunner().invoke(app, call)
    assert found.exit_code == 0, found.output
    assert "agent:" in found.stdout


# --- with a judge of numbers ----------------------------------------------------------------------

JUDGE = Weights(
    version=1,
    features=("battery_beside",),
    mean=(0.0,),
    scale=(10.0,),
    join=Head(weights=(1.0,), bias=-0.5),
    aims={"energy": (2.0,)},
    usual={"energy": 0.4},
    words=0.5,
    steps=tuple(Head(weights=(0.1 * at,), bias=0.0) for at in range(4)),
)


@pytest.fixture
def judged(base, adapter, tmp_path) -> Path:
    own = tmp_path / "judged.gguf"
    own.write_bytes(adapter.read_bytes())
    write_weights(judge_beside(own), JUDGE)
    return own


def test_a_score_is_the_judges_odds_and_the_aims_and_what_a_boxs_words_add(base, judged):
    agent = Agent("onnx", str(base), beside=False)
    state = job(judged)
    advice = advise(agent, state)
    covered = field_of(boxes(), request_of(state, Consider(boxes(), 1))).covered
    speaking = {c.box for c in covered if c.resources.note}
    with open_mind(str(judged), "onnx", str(base)) as mind:
        counts = mind.answer(prefix_of(""), [COUNTS])[0]
        said = {
            c.box: mind.answer(OURS, [f'note "{c.resources.note}"\nask it?'])[0]
            for c in covered
            if c.box in speaking
        }
    agent.close()
    middle = np.median([c.resources.battery for c in covered])
    weight = 1 + 2 * (advice.prices["energy"] - 0.4)
    assert advice.prices == pytest.approx(dict(zip(AIMS, counts.aims, strict=True)), abs=1e-5)
    assert sum(advice.prices.values()) == pytest.approx(1)
    for c in covered:
        odds = weight * (c.resources.battery - middle) / 10 - 0.5
        if c.box in speaking:
            odds += 0.5 * np.log(said[c.box].join / (1 - said[c.box].join))
        assert advice.scores[c.box] == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)
    assert set(advice.questions) == speaking
    silent = next(c.box for c in covered if c.box not in speaking)
    assert advice.parts[silent].words == 0.0


def test_a_judge_named_with_broken_numbers_leaves_the_job_to_the_hand_rule(base, judged):
    judge_beside(judged).write_bytes(b"{}")
    agent = Agent("onnx", str(base), beside=False)
    remark = advise(agent, job(judged)).remark
    agent.close()
    assert "the agent cannot answer" in remark
    assert "judge.json" in remark


def test_a_judge_of_half_the_classes_of_steps_leaves_the_job_to_the_hand_rule(base, judged):
    write_weights(judge_beside(judged), replace(JUDGE, steps=JUDGE.steps[:2]))
    agent = Agent("onnx", str(base), beside=False)
    advice = advise(agent, job(judged))
    agent.close()
    assert advice.scores is None
    assert "the agent cannot answer" in advice.remark
    assert "it has 2 heads of steps" in advice.remark


def test_an_objective_that_is_read_as_no_chances_leaves_the_round_to_the_hand_rule():
    asked = Asking(OURS, {}, "", edges_of([]), ("p", COUNTS), {"b0": {}}, JUDGE)
    broken = Answer(0.5, (1.0, 0.0, 0.0, 0.0), (float("nan"), 0.0, 0.0, 0.0))
    advice = advice_of(asked, {("p", COUNTS): broken})
    assert (advice.scores, advice.remark) == (
        None,
        "the agent's answer on the objective is no chance",
    )


def test_a_judged_job_is_explained_by_its_numbers_its_aim_and_its_words(tmp_path, base, judged):
    fleet = whole(tmp_path / "home", base, str(judged))
    store = fleet.open_store()
    rows = [row for row in decisions(store, "job") if row["kind"] == "train"]
    assert all(row["fallback"] == "" for row in rows)
    # Boxes here write nothing: steps are the judge's alone, and no words count.
    assert {row["parts"][box]["words"] for row in rows for box in row["cohort"]} == {0.0}
    newest = explained(store, "job", rows, str(base))[-1]
    told = [[word["word"] for word in newest["words"][box]] for box in newest["cohort"]]
    assert told == [["its numbers", "the aim"]] * len(told)
    tables.decisions([newest])
