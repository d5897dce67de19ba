"""A task file's errors name the key and what would be accepted."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from coordinator.selection.forest import Trees
from coordinator.selection.weights import VERSION, Head, Weights
from coordinator.store import Store
from coordinator.submit import submit
from coordinator.taskfile import read, rules_of, seconds, task_of
from coordinator.weightsfile import write_weights
from proto.errors import ConfigError
from proto.models import kind_of, model_layout
from quantization.arrays import size

GOOD = """
job = "wine"
[data]
classes = ["red", "white"]
columns = ["a", "b", "c", "d"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "task.toml"
    path.write_text(text)
    return path


def with_rounds(line: str) -> str:
    return f"{GOOD}\n[rounds]\n{line}\n"


def test_a_short_file_is_a_whole_task(tmp_path):
    file = read(written(tmp_path, GOOD))
    task, rules = task_of(file, "fleet", 3), rules_of(file)
    assert (task.job, task.fleet, task.serial) == ("wine", "fleet", 3)
    assert task.model.circuit.qubits == task.data.components == 4
    assert (rules.deadline, rules.gather, rules.scorer) == (120.0, 30.0, "stalest")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("classes", "clases"), r"unknown field `clases`.*`data`"),
        (with_rounds("rounds = 3"), r"unknown field `rounds`.*`rounds`"),
        ("quorum = 2\n" + GOOD, "unknown field `quorum`"),
        (GOOD.replace('job = "wine"', ""), "missing required field `job`"),
        (GOOD.replace("wine", "My Wine"), r"matching regex.*`job`"),
        (GOOD.replace('"red", ', ""), r"length >= 2.*`data.classes`"),
        (with_rounds("quorum = 0"), r">= 1.*`rounds.quorum`"),
        (with_rounds('quorum = "two"'), r"Expected `int`, got `str`.*`rounds.quorum`"),
        (with_rounds('deadline = "soon"'), r"regex.*`rounds.deadline`"),
        (with_rounds("deadline = 90"), r"Expected `str`.*`rounds.deadline`"),
        (
            with_rounds('policy = "best"'),
            "rounds.policy is one of agent, eafl, fedcs, gbm, linear, oort, paper",
        ),
        (with_rounds('aggregation = "sum"'), r"enum value 'sum'.*`rounds.aggregation`"),
        (with_rounds("target = 1.5"), r"<= 1.*`rounds.target`"),
        (GOOD + '[model]\nansatz = "magic"', r"enum value 'magic'.*`model.ansatz`"),
        (GOOD + "[training]\nbits = 5", r"enum value 5.*`training.bits`"),
        (GOOD + "[training]\nlearning_rate = 0.0", r"> 0.0.*`training.learning_rate`"),
        ("job = wine", "line 1"),
    ],
)
def test_an_error_names_the_key_and_what_is_accepted(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        read(written(tmp_path, text))


def test_a_file_that_is_not_there_or_no_task_at_all_is_told_so(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="no task file"):
        read(written(tmp_path, "#" * 300_000))
    (tmp_path / "task.toml").write_bytes(b"job = '\xff'")
    with pytest.raises(ConfigError):
        read(tmp_path / "task.toml")


STUDENT = Weights(
    version=VERSION,
    features=("rows",),
    mean=(0.0,),
    scale=(1.0,),
    join=Head(weights=(1.0,), bias=0.0),
)
AGENT = '[rounds]\npolicy = "agent"\n[selection]\nweights = "mine.gguf"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = " + "[" * 50_000, "within each other, too deep"),
        ("x = " + "9" * 6000, "value has 6000 digits"),
        (f'{GOOD}[model]\nansatz = "own"\ngates = "a\\u0000b"', "embedded null byte"),
        (f"{GOOD}[rounds]\nmin_gain = inf", r"`float` <= 1000000.0 - at `rounds.min_gain`"),
    ],
    ids=["deep", "digits", "zero byte", "infinite"],
)
def test_a_hostile_file_is_told_as_any_other(tmp_path, text, said):
    with pytest.raises(ConfigError, match=f"task.toml.*{said}"):
        read(written(tmp_path, text))


def test_an_agent_that_is_not_there_or_has_a_spoilt_judge_is_refused_with_the_task(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no .*mine.gguf; accepted: an adapter that"):
        read(written(tmp_path, GOOD + AGENT))
    (tmp_path / "mine.gguf").touch()
    named = read(written(tmp_path, GOOD + AGENT)).selection.weights
    assert named == str((tmp_path / "mine.gguf").resolve())
    head = Head(weights=(1.0,), bias=0.0)
    write_weights(tmp_path / "mine.judge.json", replace(STUDENT, steps=(head, head)))
    with pytest.raises(ConfigError, match=r"mine.judge.json: it has 2 heads .*coordinator distill"):
        read(written(tmp_path, GOOD + AGENT))
    write_weights(tmp_path / "mine.judge.json", replace(STUDENT, steps=(head,) * 4))
    assert read(written(tmp_path, GOOD + AGENT)).selection.weights == named
    write_weights(tmp_path / "mine.stop.json", STUDENT)
    with pytest.raises(ConfigError, match=r"mine.stop.json: features .* does not know: rows"):
        read(written(tmp_path, GOOD + AGENT))
    (tmp_path / "mine.stop.json").unlink()
    trees = Trees(version=VERSION, features=("rows",), trees=(), bias=0.0)
    write_weights(tmp_path / "mine.judge.json", trees)
    with pytest.raises(ConfigError, match="no linear student"):
        read(written(tmp_path, GOOD + AGENT))


def columns(count: int) -> str:
    names = ", ".join(f'"c{number}"' for number in range(count))
    return GOOD.replace('"a", "b", "c", "d"', names)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (columns(13) + "components = 0", "13 qubits, at most 12.*data.components"),
        (columns(3) + "components = 4", "data.components is at most .* 3"),
        (GOOD.replace('"white"', f'"{"w" * 101}"'), "cannot be offered"),
        (columns(129) + "components = 2", "at most 128 data.columns"),
    ],
)
def test_a_task_no_box_could_train_is_refused_before_it_is_offered(tmp_path, text, said):
    file = read(written(tmp_path, text))
    with pytest.raises(ConfigError, match=said):
        task_of(file, "fleet", 1)


ANSATZES = [
    "real-amplitudes",
    "re-uploading",
    "paper",
    "efficient-su2",
    "strongly-entangling",
    "hardware-efficient",
]


def with_model(*lines: str, data: str = GOOD) -> str:
    return "\n".join((data, "[model]", *lines))


@pytest.mark.parametrize("ansatz", ANSATZES)
def test_every_ansatz_makes_a_model(tmp_path, ansatz):
    file = read(written(tmp_path, with_model(f'ansatz = "{ansatz}"', "reps = 2")))
    assert task_of(file, "fleet", 1).model.circuit.weights > 0


@pytest.mark.parametrize("encoding", ["rx", "ry", "rz", "z", "zz"])
@pytest.mark.parametrize("ansatz", ["real-amplitudes", "efficient-su2", "qcnn"])
def test_an_ansatz_stands_behind_any_encoding(tmp_path, ansatz, encoding):
    text = with_model(f'ansatz = "{ansatz}"', f'encoding = "{encoding}"')
    circuit = task_of(read(written(tmp_path, text)), "fleet", 1).model.circuit
    assert circuit.features == circuit.qubits == 4


OWN = '[["ry",[0],["weight",0]],["cx",[0,1]],["cx",[2,3]],["ry",[1],["weight",1,0,2.0]]]'


def test_gates_drawn_elsewhere_are_an_ansatz_behind_an_encoding(tmp_path):
    (tmp_path / "mine.json").write_text(OWN)
    text = with_model('ansatz = "own"', 'gates = "mine.json"', 'encoding = "rx"')
    circuit = task_of(read(written(tmp_path, text)), "fleet", 1).model.circuit
    assert [gate.name for gate in circuit.gates] == ["rx"] * 4 + ["ry", "cx", "cx", "ry"]
    assert (circuit.features, circuit.weights, circuit.gates[-1].angle.scale) == (4, 2, 2.0)


@pytest.mark.parametrize(
    ("gates", "lines", "said"),
    [
        (OWN, ('ansatz = "own"',), "needs model.gates"),
        (OWN, ('gates = "mine.json"',), 'is for model.ansatz = "own"'),
        (OWN, ('ansatz = "own"', 'gates = "yours.json"'), "cannot read .*yours.json"),
        ("[]", ('ansatz = "own"', 'gates = "mine.json"'), "holds 0 gates"),
        ('[["ccx",[0,1]]]', ('ansatz = "own"', 'gates = "mine.json"'), "enum value 'ccx'"),
        ('[["h",[40]]]', ('ansatz = "own"', 'gates = "mine.json"'), "40 . 12|< 12|<= 11"),
        ('[["h",[7]]]', ('ansatz = "own"', 'gates = "mine.json"'), "set data.components to 8"),
        (
            '[["ry",[0],["feature",0]]]',
            ('ansatz = "own"', 'gates = "mine.json"'),
            "read 1 features: set data.components to 1",
        ),
    ],
)
def test_gates_that_cannot_be_trained_are_refused_with_what_to_change(tmp_path, gates, lines, said):
    (tmp_path / "mine.json").write_text(gates)
    with pytest.raises(ConfigError, match=said):
        task_of(read(written(tmp_path, with_model(*lines))), "fleet", 1)


def test_no_weight_of_a_task_is_dead(tmp_path):
    text = with_model('ansatz = "efficient-su2"')
    assert task_of(read(written(tmp_path, text)), "fleet", 1).model.circuit.weights == 32 - 4


THREE = GOOD.replace('"white"', '"white", "rose"')
FIVE = GOOD.replace('"white"', '"a", "b", "c", "d"')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (with_model('ansatz = "re-uploading"', 'encoding = "rx"'), "leave model.encoding out"),
        (with_model('ansatz = "paper"', 'encoding = "ry"'), "means the ZZ feature map, not ry"),
        (with_model('ansatz = "paper"', data=THREE), "2 classes apart, not 3"),
        (with_model('ansatz = "qcnn"', "reps = 2"), "leave model.reps out"),
        (with_model('ansatz = "qcnn"', data=FIVE), "at most 4 classes apart, not 5"),
        (with_model('ansatz = "qcnn"', data=columns(6) + "components = 5"), "4 or 8 .* not 5"),
    ],
)
def test_what_makes_no_sense_together_is_told_with_a_way_out(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        task_of(read(written(tmp_path, text)), "fleet", 1)


@pytest.mark.parametrize("name", ["trimmed-mean", "median"])
def test_what_outvotes_a_bad_box_needs_three(tmp_path, name):
    file = read(written(tmp_path, with_rounds(f'aggregation = "{name}"')))
    with pytest.raises(ConfigError, match="quorum is 2; accepted: at least 3"):
        rules_of(file)
    enough = read(written(tmp_path, with_rounds(f'aggregation = "{name}"\nquorum = 3')))
    assert rules_of(enough).aggregation == name


@pytest.mark.parametrize(
    ("text", "number"), [("90s", 90.0), ("2m", 120.0), ("1.5h", 5400.0), ("1d", 86400.0)]
)
def test_lengths_of_time_have_units(text, number):
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["90", "s", "-1s", "1 s", "2w", "1s\n"])
def test_what_is_no_length_of_time_is_told_how_to_write_one(text):
    with pytest.raises(ConfigError, match="write 90s, 2m"):
        seconds(text)


def test_a_job_is_handed_in_once(tmp_path):
    store = Store(tmp_path / "qfleet.db")
    file = read(written(tmp_path, GOOD))
    submit(store, file, "fleet", 1.0)
    with pytest.raises(ConfigError, match="a job named 'wine' exists"):
        submit(store, file, "fleet", 2.0)
    assert len(store.jobs()) == 1
    store.close()


ASYNC = 'kind = "async"\nconcurrency = 8\nbuffer = 4\n'


def test_an_asynchronous_task_says_how_many_train_and_how_many_make_a_step(tmp_path):
    rules = rules_of(read(written(tmp_path, with_rounds(ASYNC))))
    assert (rules.buffer, rules.concurrency, rules.max_staleness) == (4, 8, 20)
    assert rules.server_rate == 1.0
    adaptive = rules_of(read(written(tmp_path, with_rounds(ASYNC + 'aggregation = "fedadam"'))))
    assert adaptive.server_rate == 0.1
    assert rules_of(read(written(tmp_path, with_rounds("")))).buffer == 0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('kind = "async"', "needs rounds.concurrency, .* and rounds.buffer"),
        ("buffer = 3", 'are for rounds.kind "async"'),
        (ASYNC + "cohort = 5", 'rounds.cohort is for rounds.kind "sync"'),
        (ASYNC + 'aggregation = "median"\nquorum = 3', "could be the majority"),
        (ASYNC + '[steps]\nrule = "slack"', "no box waits for another"),
        (ASYNC + '[steps]\nrule = "compass"', "no box waits for another"),
    ],
)
def test_what_asynchronous_rounds_cannot_do_is_refused_with_a_way_out(tmp_path, table, said):
    with pytest.raises(ConfigError, match=said):
        rules_of(read(written(tmp_path, with_rounds(table))))


TEXTS = """
job = "sms"
[data]
classes = ["ham", "spam"]
text = "text"
[model]
kind = "adapter"
"""


def test_a_short_file_is_a_whole_task_of_an_adapter(tmp_path):
    task = task_of(read(written(tmp_path, TEXTS)), "fleet", 1)
    assert kind_of(task.model) == "adapter"
    assert (task.data.text, task.data.components) == ("text", 0)
    assert size(model_layout(task.model)) == 36_864


def test_stacked_adapters_need_the_model_of_each_update(tmp_path):
    stacked = TEXTS + 'combine = "stacked"\nshare = "ab"\n[rounds]\n'
    with pytest.raises(ConfigError, match=r"accepted: padded for rounds\.kind"):
        rules_of(read(written(tmp_path, stacked + ASYNC)))
    with pytest.raises(ConfigError, match=r"rounds\.server_rate is 0.5; accepted: 1"):
        rules_of(read(written(tmp_path, stacked + "server_rate = 0.5\n")))


def test_what_outvotes_a_bad_box_takes_one_rank_only(tmp_path):
    ranks = TEXTS + 'least_rank = 1\n[rounds]\naggregation = "median"\nquorum = 3\n'
    with pytest.raises(ConfigError, match=r"model.least_rank is 1; accepted: 0 for a median"):
        rules_of(read(written(tmp_path, ranks)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXTS + 'base = "gpt-5"', "model.base is smollm2-135m or a .gguf file"),
        (TEXTS + "blocks = 31", "at most 30"),
        (TEXTS + 'answers = [" yes"]', "for each of the 2 classes"),
        (TEXTS + 'answers = [" yes", ""]', "an empty one"),
        (TEXTS + 'answers = ["a", "a"]', "same answer"),
        (TEXTS + 'targets = ["q", "x"]', r"enum value 'x'.*`model.targets"),
        (TEXTS + 'prompt = "Spam?"', "no {text}"),
        (TEXTS.replace('text = "text"', 'columns = ["a"]'), "name its column in data.text"),
        (TEXTS.replace("ham", "spam"), "one name twice"),
        (TEXTS.replace("ham", ""), "an empty name"),
        (TEXTS.replace('kind = "adapter"', ""), "data.text is for model.kind"),
        (TEXTS.replace("adapter", "tree"), r"`model.kind`"),
        (TEXTS + '[training]\noptimiser = "spsa"', "adamw, adam or sgd for an adapter"),
        (TEXTS + "[training]\nwarmup = 5", "for training.optimiser adamw"),
    ],
)
def test_a_task_of_an_adapter_that_makes_no_sense_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        task_of(read(written(tmp_path, text)), "fleet", 1)
