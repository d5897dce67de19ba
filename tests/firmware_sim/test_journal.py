import re

import pytest

from firmware_sim.hidden import FAULTS, Fault
from firmware_sim.journal import (
    BY_MACHINES,
    BY_PEOPLE,
    FAMILIES,
    HELD_OUT,
    SLOTS,
    TAUGHT,
    age,
    note,
    tail,
    templates,
    write,
)
from firmware_sim.population import Client, populate
from firmware_sim.scenario import parse

FLEET = """
name = "talkers"
[[group]]
name = "all"
count = 300
board = "pi-4"
[hidden]
weak-supply = 0.1
dying-card = 0.1
memory-leak = 0.1
blocked-fan = 0.1
metered-link = 0.1
within = "2h"
"""
LATE = 3 * 3600.0
CLIENTS = populate(parse(FLEET), 7)
SICK = [client for client in CLIENTS if client.fault]
WELL = [client for client in CLIENTS if not client.fault]


def signs(client: Client, at: float) -> list[str]:
    return [line.topic for line in tail(client, at, 12) if line.sort == "sign"]


def test_every_topic_has_every_family_of_every_sort() -> None:
    sorts = {f"{topic}.{sort}" for topic in FAULTS for sort in ("sign", "negated", "stale")}
    assert set(templates()) == sorts | {"routine", "decoy"}
    assert all(set(table) == set(FAMILIES) for table in templates().values())


def test_every_template_can_be_filled() -> None:
    for table in templates().values():
        for lines in table.values():
            for line in lines:
                assert set(re.findall(r"\{(\w+)\}", line)) <= set(SLOTS), line
                choices = re.findall(r"<([^<>]*\|[^<>]*)>", line)
                assert line.count("|") == sum(c.count("|") for c in choices), line


def test_signs_have_many_wordings() -> None:
    said = {
        re.sub(r"[\d.]+", "#", write("sign", topic, family, draw))
        for topic in FAULTS
        for family in FAMILIES
        for draw in range(200)
    }
    assert len(said) > 250


def test_held_out_wordings_share_no_template_with_those_taught() -> None:
    assert set(HELD_OUT) | set(TAUGHT) == set(FAMILIES)
    for table in templates().values():
        taught = {line for family in TAUGHT for line in table[family]}
        assert not taught & {line for family in HELD_OUT for line in table[family]}


def test_families_asked_for_are_the_only_ones() -> None:
    lines = [line for client in CLIENTS for line in tail(client, LATE, families=("kernel",))]
    assert {line.family for line in lines} == {"kernel"}


def test_the_sick_tell_of_their_own_fault_and_of_no_other() -> None:
    for client in SICK:
        assert client.fault is not None
        told = signs(client, LATE)
        assert set(told) <= {client.fault.name}
    assert sum(bool(signs(client, LATE)) for client in SICK) > 0.98 * len(SICK)


def test_the_well_never_say_that_they_are_sick() -> None:
    assert [client.number for client in WELL if signs(client, LATE)] == []


def test_nothing_is_told_before_it_began() -> None:
    late = [c for c in SICK if c.fault and c.fault.since > 1800]
    assert len(late) > 20
    assert [client.number for client in late if signs(client, 1700.0)] == []


def test_the_well_and_the_sick_alike_write_what_only_sounds_bad() -> None:
    for clients in (WELL, SICK):
        odd = {line.sort for client in clients for line in tail(client, LATE, 12)}
        assert {"negated", "stale", "decoy", "routine"} <= odd


def test_old_news_may_have_the_words_of_today_but_an_old_date() -> None:
    lines = [line for client in CLIENTS for line in tail(client, LATE, 12)]
    old = [line for line in lines if line.age_s > 86400]
    assert len(old) > 10
    assert {line.sort for line in old} == {"stale"}
    assert all(" d ago: " in str(line) for line in old)


def test_the_same_moment_has_the_same_text() -> None:
    assert tail(SICK[0], LATE) == tail(SICK[0], LATE)
    assert [note(c, LATE) for c in CLIENTS] == [note(c, LATE) for c in CLIENTS]
    assert tail(SICK[0], LATE)[:-1] != tail(SICK[1], LATE)[:-1]


def test_some_operators_write_notes_and_those_of_the_sick_are_about_it() -> None:
    written = [text for client in SICK if (text := note(client, 4 * LATE))]
    assert len(SICK) / 4 < len(written) < len(SICK)
    assert len({*written}) > len(written) / 2


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 s"), (60, "1 min"), (7300, "2 h"), (3 * 86400.0, "3 d")]
)
def test_ages_are_short(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_machines_and_people_write_in_families_of_their_own() -> None:
    assert set(BY_MACHINES) | set(BY_PEOPLE) == set(FAMILIES)
    assert Fault("blocked-fan", 0.0).name in FAULTS
