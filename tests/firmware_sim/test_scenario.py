import json
import math
import os
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from msgspec import inspect

from coordinator.selection.weights import VERSION, Head, Weights
from coordinator.taskfile import rules_of, task_of
from coordinator.weightsfile import write_weights
from firmware_sim import sensors
from firmware_sim.boards import profiles
from firmware_sim.holdings import holdings
from firmware_sim.links import kinds
from firmware_sim.population import (
    advance,
    finishes,
    first_board,
    load_at,
    populate,
    readings,
)
from firmware_sim.scenario import Scenario, parse, read, task_file, with_policy
from firmware_sim.script import Entry, moment_s
from proto.errors import ConfigError

DESK = """
name = "desk"
[[group]]
name = "a"
count = 4
board = "pi-4"
"""

BAD = [
    (
        'colour = "red"',
        r"group\[0\].colour = 'red' is no key here; accepted: behaviour, board",
    ),
    ('link = "wify"', r"group\[0\].link is wify; accepted: one of 3g, .*wifi"),
    ('behaviour = "moon"', r"group\[0\].behaviour is moon; accepted: mains, .*a table of its own"),
    (
        'behaviour = { charging = "moon" }',
        r"group\[0\].behaviour.charging is 'moon'; accepted: one of mains, nightly",
    ),
    ("behaviour = { available = 2 }", r"available is 2; accepted: a number from 0 to 1"),
    ("rows = [1, 2]", r"group\[0\].rows\[0\] is 1; accepted: a whole number from 20"),
    ("rows = [90, 40]", r"group\[0\].rows is \[90, 40\]; accepted: the smaller number first"),
    ("[work]\nskew = -1", r"work.skew is -1; accepted: a number above 0 to 1000"),
    ('[work]\ndata = "web"', r"work.data is 'web'; accepted: sensors, or sklearn:NAME"),
    ("[work.training]\nsteps = 0", r"work.training.steps is 0; accepted: a whole number from 1"),
    ("[work.training]\npersonal_head = true", r"personal_head is true; accepted: false"),
    ('[work.rounds]\npolicy = "best"', r"work.rounds.policy is best; accepted: one of .*stalest"),
    ('[work.rounds]\ndeadline = "soon"', r"deadline is 'soon'; accepted: a length of time: 90s"),
    ('[work.rounds]\ndeadline = "0.1s"', r"work.rounds.deadline is 0.1s; accepted: from 1s to 30d"),
    ("[work.rounds]\ncohort = 9", r"work.rounds.cohort is 9; accepted: at most 4, all clients"),
    ("[work.rounds]\nquorum = 5", r"work.rounds.quorum is 5; accepted: at most the cohort"),
    ('[work.model]\nansatz = "x"', r"work.model.ansatz is 'x'; accepted: one of .*qcnn"),
    ('[work.model]\nkind = "x"', r"work.model.kind is 'x'; accepted: one of circuit, adapter"),
    ("[hidden]\nweak-supply = 0.7\nblocked-fan = 0.6", r"hidden is shares that add up to 1.3"),
    (
        "[hidden]\nweak_supply = 0.7",
        r"hidden.weak_supply = 0.7 is no key here; accepted: blocked",
    ),
    ('[[script]]\nat = "1s"', r"script\[0\].do is missing; accepted: one of kill, cut-link"),
    ('[[script]]\ndo = "kil"', r"script\[0\].do is 'kil'; accepted: one of kill, cut-link"),
    ('[[script]]\ndo = "kill"\nat = "99"', r"script\[0\].at is '99'; accepted: 00:10, 00:10:30"),
    ('[[script]]\ndo = "kill"\nat = "99:00"\nshare = 1', r"script\[0\].at is 99:00; .*24h"),
    ('[[script]]\ndo = "kill"\nshare = 1', r"script\[0\].at is nothing; accepted: a moment"),
    ('[[script]]\ndo = "kill"\nat = "1s"\nshare = 2', r"share is 2; accepted: a number above 0"),
    ('[[script]]\ndo = "kill"\nat = "1s"', r"script\[0\] is nobody; accepted: exactly one of"),
    (
        '[[script]]\ndo = "kill"\nat = "1s"\nshare = 0.5\nclients = [1]',
        r"script\[0\] is clients and share; accepted: exactly one of clients, share and group",
    ),
    (
        '[[script]]\ndo = "kill"\nat = "1s"\nclients = [9]',
        r"script\[0\].clients is \[9\]; accepted: numbers from 1 to 4",
    ),
    (
        '[[script]]\ndo = "ail"\nat = "1s"\ngroup = "b"\nfault = "blocked-fan"',
        r"script\[0\].group is b; accepted: one of a",
    ),
    (
        '[[script]]\ndo = "poison"\nat = "1s"\nclients = [1]\nwhat = "odd"',
        r"script\[0\].what is 'odd'; accepted: one of .*nan",
    ),
    (
        '[[script]]\ndo = "kill-coordinator"\nstate = "odd"',
        r"script\[0\].state is 'odd'; accepted: one of collecting, folding",
    ),
    ('[[script]]\ndo = "broker-down"\nat = "1s"', r"script\[0\].length is missing; accepted"),
    ('[work.steps]\nrule = "odd"', r"work.steps.rule is odd; accepted: one of .*fixed"),
    ("[work.weights]", r"work.weights is there; accepted: the name of a file"),
    (
        '[work.rounds]\npolicy = "linear"\nquorum = 1',
        r'work.selection.weights is nothing; accepted: the file of a student .* "linear"',
    ),
    ("[work.rounds]\nbuffer = 2", r"work.rounds.buffer is 2; accepted: 0, as"),
    ('[work.rounds]\nkind = "async"', r"work.rounds.concurrency is 0; accepted: from 1, as"),
    ("[work.selection]\nodd = 1", r"work.selection.odd = 1 is no key here; accepted: .*budget"),
    ("x = = 3", r"this is not TOML: .*line 7"),
    ("behaviour = { ambient_c = nan }", r"ambient_c is nan; accepted: a number from -60 to 80"),
    ("behaviour = { session_s = 1e-300 }", r"session_s is 1e-300; accepted: a number from 1 to"),
    ("behaviour = { drift_per_day = inf }", r"drift_per_day is inf; accepted: a number from 0 to"),
    (
        "behaviour = { charge_hours = [22, 1e300] }",
        r"charge_hours\[1\] is 1e\+300; .* to 24",
    ),
    ("[work.rounds]\nmin_gain = inf", r"work.rounds.min_gain is inf; accepted: a number from 0"),
    (
        "[work.training]\nbatch = 9999999",
        r"training.batch is 9999999; .* to 1048576",
    ),
    ('[work.rounds]\npolicy = ""', r"work.rounds.policy is empty; accepted: one of"),
    ('[work.rounds]\npolicy = "\\u001b[2J"', r"work.rounds.policy is \?\[2J; accepted: one of"),
    ('[[group]]\nname = "a"\ncount = 1\nboard = "pi-4"', r"group\[1\].name is a; accepted: a name"),
    ('[[group]]\nname = "b"\ncount = 1\nboard = "pi-9"', r"group\[1\].board is pi-9; .*pi-zero-2w"),
    ('[[group]]\nname = "b"\ncount = 1\nboard = {}', r"group\[1\].board is an empty table"),
    ('[[group]]\nname = "b"\ncount = 100000\nboard = "pi-4"', r"group is 100004 clients"),
]


@pytest.mark.parametrize(("line", "words"), BAD, ids=[line for line, _ in BAD])
def test_a_bad_scenario_is_told_by_key_value_and_what_is_accepted(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        parse(DESK + line)
    form = r"(is|=) .+; accepted: |is missing; accepted: |not TOML"
    form += "| is no key here; accepted: "
    assert re.search(form, str(refused.value))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('[work.model]\nansatz = "own"', 'model.ansatz = "own" needs model.gates'),
        (
            "[work.model]\nsimulated_rounds = 500",
            "model.simulated_rounds leaves model.backend none",
        ),
        (
            '[work.training]\noptimiser = "spsa"\nwarmup = 5',
            "training.warmup is for training.optimiser adamw",
        ),
    ],
)
def test_what_makes_no_task_with_this_data_is_told_before_anything_runs(line, words):
    scenario = parse(DESK + line)
    with pytest.raises(ConfigError, match=r"^\[work\] makes no task: .*" + re.escape(words)):
        holdings(scenario, populate(scenario, 0), 0)


def _numbers(node: inspect.Type, at: str) -> Iterator[tuple[str, inspect.Type]]:
    """Every number of a type, by where it is."""
    inner = [(getattr(node, n, None), at) for n in ("type", "item_type", "value_type")]
    inner += [(one, at) for n in ("types", "item_types") for one in getattr(node, n, ())]
    inner += [(field.type, f"{at}.{field.encode_name}") for field in getattr(node, "fields", ())]
    if isinstance(node, inspect.IntType | inspect.FloatType):
        yield at, node
    for child, where in inner:
        if child is not None:
            yield from _numbers(child, where)


def test_every_number_of_a_scenario_has_a_least_and_a_most() -> None:
    """So none is taken that is infinite, none at all (NaN), or so large that a run never ends."""
    found = dict(_numbers(inspect.type_info(Scenario), ""))
    free = [
        at
        for at, node in found.items()
        if not at.startswith(".work.weights.")  # read from a student's file, and checked there
        and (node.ge is node.gt is None or node.le is node.lt is None)
    ]
    assert len(found) > 100
    assert free == []


def test_a_run_may_last_a_year() -> None:
    assert parse(f'lasts = "366d"\n{DESK}').lasts == "366d"
    with pytest.raises(ConfigError, match=r"lasts is 367d; accepted: a length .* to 366d"):
        parse(f'lasts = "367d"\n{DESK}')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "name is missing; accepted: a text"),
        ("group = []\nname = 'x'", r"group is \[\]; accepted: a list, each a table with"),
        ("x = " + "[" * 50_000, "within each other, too deep"),
        (f"[{'.'.join('a' * 30_000)}]\nx = 1", "within each other, too deep"),
        ("x = " + "9" * 6000, "thousands of digits"),
        ("name = 1979-05-27", r"name is datetime.date\(1979, 5, 27\); accepted: a text"),
    ],
    ids=["empty", "no group", "deep list", "deep table", "digits", "date"],
)
def test_a_file_that_is_no_scenario_at_all_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(text)


@pytest.mark.parametrize("name", ["a\\u0000b", "a" * 5000, "loop.gguf", "none.gguf", "."])
@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("work.selection.weights", '[work.rounds]\npolicy = "agent"\n[work.selection]\nweights'),
        ("work.selection.weights", '[work.rounds]\npolicy = "linear"\n[work.selection]\nweights'),
        ("work.model.gates", '[work.model]\nansatz = "own"\ngates'),
    ],
    ids=["agent", "student", "gates"],
)
def test_a_file_that_a_scenario_names_and_that_cannot_be_read_is_told(tmp_path, name, key, table):
    (tmp_path / "loop.gguf").symlink_to("loop.gguf")
    path = tmp_path / "fleet.toml"
    path.write_text(f'{DESK}\n{table} = "{name}"')
    shown = "a\\?b" if "u0000" in name else re.escape(name[:80])
    with pytest.raises(ConfigError, match=rf"fleet.toml: {key} is {shown}(\.\.\.)?; accepted: a "):
        read(path)


def test_gates_drawn_elsewhere_lie_beside_a_scenario_as_beside_a_task(tmp_path):
    path = tmp_path / "fleet.toml"
    gates = [["ry", [0], ["weight", 0]], ["cx", [0, 1]], ["ry", [1], ["weight", 1]]]
    (tmp_path / "gates.json").write_text(json.dumps(gates))
    path.write_text(f'{DESK}\n[work.model]\nansatz = "own"\ngates = "gates.json"')
    file = task_file(read(path), sensors.CLASSES, sensors.COLUMNS)
    assert task_of(file, "sim", 1).model.circuit.gates[-3].name == "ry"


@pytest.mark.parametrize("name", ["/dev/zero", "pipe"])
def test_what_has_no_size_is_read_as_far_as_a_scenario_goes(tmp_path, name):
    if name == "pipe":
        os.mkfifo(tmp_path / name)
        writer = Thread(target=(tmp_path / name).write_bytes, args=(b"#" * 300_000,), daemon=True)
        writer.start()
    with pytest.raises(ConfigError, match="larger than 262144 bytes"):
        read(tmp_path / name)


def test_a_key_at_the_top_that_is_wrong_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"group is missing; accepted: a list, each a table"):
        parse('name = "x"')
    path = tmp_path / "fleet.toml"
    path.write_text('starts = "25:00"' + DESK)
    with pytest.raises(ConfigError, match=r"fleet.toml: starts is '25:00'; .* such as 09:30"):
        read(path)
    path.write_bytes(b"#" * 300_000)
    with pytest.raises(ConfigError, match="larger than 262144 bytes"):
        read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not TOML"):
        read(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read(tmp_path / "none.toml")


def test_a_scenario_names_an_agent_or_a_student_and_neither_is_taken_for_the_other(tmp_path):
    path = tmp_path / "fleet.toml"
    path.write_text(DESK + '[work.rounds]\npolicy = "agent"\n[work.selection]\nweights = "a.gguf"')
    with pytest.raises(
        ConfigError, match=r"work.selection.weights is a.gguf; accepted: .*there is no"
    ):
        read(path)
    (tmp_path / "a.gguf").touch()
    agent = str((tmp_path / "a.gguf").resolve())
    assert _adapter(read(path)) == agent
    assert _adapter(with_policy(with_policy(read(path), "stalest"), "agent")) == agent
    head = Head(weights=(1.0,), bias=0.0)
    plain = Weights(version=VERSION, features=("rows",), mean=(0.0,), scale=(1.0,), join=head)
    write_weights(tmp_path / "s.json", plain)
    path.write_text(DESK + '[work.rounds]\npolicy = "linear"\n[work.selection]\nweights = "s.json"')
    scenario = read(path)
    assert scenario.work.weights == plain
    assert _adapter(with_policy(scenario, "agent")) == ""  # the package's own


def _adapter(scenario: Scenario) -> str:
    return rules_of(task_file(scenario, ("no", "yes"), ("x", "y"))).adapter


def test_a_long_value_is_not_shown_whole() -> None:
    with pytest.raises(ConfigError) as refused:
        parse(DESK + f'link = "{"x" * 5000}"')
    assert len(str(refused.value)) < 300


def test_a_scenario_makes_a_task_that_boxes_accept() -> None:
    scenario = with_policy(parse(DESK), "random")
    file = task_file(scenario, sensors.CLASSES, sensors.COLUMNS)
    assert task_of(file, "sim", 1).data.components == 4
    assert rules_of(file).scorer == "random"
    with pytest.raises(ConfigError, match="policy is best; accepted: one of"):
        with_policy(scenario, "best")


def test_moments_are_written_as_a_clock_or_a_length() -> None:
    assert [moment_s(t) for t in ("00:10", "01:00:30", "90s", "1.5h")] == [600, 3630, 90, 5400]


def test_boards_are_dealt_by_weight_and_clients_are_the_same_for_a_seed() -> None:
    text = DESK.replace('"pi-4"', "{ pi-4 = 1, pi-5 = 3 }").replace("= 4", "= 8", 1)
    scenario = parse(text.replace("pi-8", "pi-4"))
    clients = populate(scenario, 3)
    assert sorted(c.board for c in clients) == ["pi-4"] * 2 + ["pi-5"] * 6
    assert clients == populate(scenario, 3)
    assert clients != populate(scenario, 4)
    assert [c.number for c in clients] == list(range(1, 9))


def test_faults_come_to_as_many_as_they_should() -> None:
    text = DESK.replace("count = 4", "count = 4000")
    clients = populate(parse(text + "[hidden]\nblocked-fan = 0.1\nweak-supply = 0.2"), 0)
    names = [c.fault.name for c in clients if c.fault]
    assert names.count("blocked-fan") / 4000 == pytest.approx(0.1, abs=0.015)
    assert names.count("weak-supply") / 4000 == pytest.approx(0.2, abs=0.02)
    assert len(names) == names.count("blocked-fan") + names.count("weak-supply")


PHONES = """
name = "phones"
[[group]]
name = "p"
count = 200
board = "phone-mid"
behaviour = "phone"
"""


def test_a_board_that_is_left_alone_catches_up_in_one_go() -> None:
    client = populate(parse(PHONES), 1)[0]
    board = first_board(client)
    once = advance(client, board, (0.0, 86400.0))
    steps = board
    for hour in range(24):
        steps = advance(client, steps, (hour * 3600.0, (hour + 1) * 3600.0))
    assert once.used_j == pytest.approx(steps.used_j, rel=1e-3)
    assert once.charge_j == pytest.approx(steps.charge_j, rel=1e-2)


def test_work_ends_when_it_is_said_to_unless_the_board_goes_off() -> None:
    for client in populate(parse(PHONES), 1):
        board = first_board(client)
        ends = finishes(client, board, 0.0, 40_000.0)
        if math.isinf(ends):
            continue
        cpu = 1 / board.profile.cores
        done = advance(client, board, (0.0, ends), cpu)
        assert done.worked_s == pytest.approx(40_000.0, rel=1e-6)


def test_what_a_box_reports_shows_a_leak_late_and_a_weak_supply_never() -> None:
    sick = populate(parse(DESK + "[hidden]\nmemory-leak = 1.0\nwithin = '1s'"), 0)[0]
    weak = populate(parse(DESK + "[hidden]\nweak-supply = 1.0\nwithin = '1s'"), 0)[0]
    well = populate(parse(DESK), 0)[0]
    board = first_board(well)
    fresh = readings(well, board, 5.0)
    assert fresh.ram_free_mib is not None
    assert readings(weak, board, 3e4) == readings(well, board, 3e4)
    assert load_at(weak, 3e4)[0].cap < 1
    late = readings(sick, board, 8 * 3600.0).ram_free_mib
    assert late is not None
    assert late < fresh.ram_free_mib - 900


def test_ten_thousand_clients_are_cheap_to_draw_and_to_advance() -> None:
    scenario = parse(PHONES.replace("200", "10000"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    boards = [advance(c, first_board(c), (0.0, 7200.0)) for c in populate(scenario, 0)]
    assert time.process_time() - start < 5.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    assert len(boards) == 10_000


FLEETS = sorted((Path(__file__).parents[2] / "examples" / "fleets").glob("*.toml"))


def test_ten_fleets_are_ready_from_a_desk_to_ten_thousand_phones() -> None:
    sizes = [read(path).clients for path in FLEETS]
    assert len(FLEETS) == 10
    assert (min(sizes), max(sizes)) == (4, 10_000)
    assert len({read(path).name for path in FLEETS}) == 10


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_a_ready_fleet_can_be_drawn_and_its_task_offered(path: Path) -> None:
    scenario = read(path)
    assert scenario.about
    assert len(populate(scenario, 0)) == scenario.clients
    file = task_file(scenario, sensors.CLASSES, sensors.COLUMNS)
    assert task_of(file, "sim", 1).training.steps >= 15
    assert rules_of(file).rounds >= 15


def test_ready_fleets_use_all_that_there_is() -> None:
    scenarios = [read(path) for path in FLEETS]
    groups = [group for scenario in scenarios for group in scenario.group]
    used = {
        name
        for group in groups
        for mix in (group.board, group.link)
        for name in ([mix] if isinstance(mix, str) else mix)
    }
    assert used == set(profiles()) | set(kinds())
    done = {type(entry) for scenario in scenarios for entry in scenario.script}
    assert done == set(Entry.__args__)
