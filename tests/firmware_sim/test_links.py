import gzip
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from firmware_sim import traces
from firmware_sim.links import (
    DOWN,
    UP,
    Line,
    LinkKind,
    is_metered,
    kind,
    kinds,
    next_outage,
    rate,
    sent_at,
    up_again,
)
from proto.errors import ConfigError

NAMES = st.sampled_from(sorted(kinds()))
STEADY = LinkKind(label="steady", up_mbps=0.8, down_mbps=8.0)
"""100 kB/s up, 1 MB/s down."""


@pytest.mark.parametrize("name", sorted(kinds()))
def test_every_number_of_a_link_has_a_source(name: str) -> None:
    link, plain = kind(name), LinkKind(label="", up_mbps=0.0, down_mbps=0.0)
    told = {k for k, v in structs.asdict(link).items() if v != getattr(plain, k)}
    assert set(link.sources) == told - {"label", "sources", "metered", "traces"}


def test_a_link_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no link 'wify'; there are: .*wifi"):
        kind("wify")


@given(NAMES, st.integers(0, 2**63), st.floats(0, 1e6), st.integers(1, 10**6))
def test_a_later_start_never_ends_earlier(name: str, seed: int, at: float, size: int) -> None:
    line = Line(kind(name), seed)
    assert at <= sent_at(line, UP, size, at) <= sent_at(line, UP, size, at + 7.0) + 1e-6


def test_a_rate_is_drawn_anew_but_the_same_whenever_it_is_asked_for() -> None:
    line = Line(kind("3g"), 5)
    forwards = [rate(line, UP, 10.0 * n) for n in range(50)]
    backwards = [rate(line, UP, 10.0 * n) for n in reversed(range(50))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) > 40


def test_rates_vary_about_the_mean_they_are_said_to_have() -> None:
    means = [rate(Line(kind("wifi"), seed), DOWN, 1e4 * seed) for seed in range(4000)]
    assert sum(means) / len(means) == pytest.approx(34.5 * 125_000, rel=0.05)


def test_a_transfer_takes_its_size_by_the_rate() -> None:
    assert sent_at(Line(STEADY, 1), UP, 250_000, 3.0) == pytest.approx(5.5)
    assert sent_at(Line(STEADY, 1), DOWN, 250_000, 3.0) == pytest.approx(3.25)


def test_a_transfer_waits_for_an_outage_to_end() -> None:
    patchy = structs.replace(STEADY, outage_every_s=1000.0, outage_s=100.0)
    line = Line(patchy, 3)
    down = next_outage(line, 0.0)
    assert down is not None
    start, end = down
    assert up_again(line, (start + end) / 2) == end
    assert up_again(line, start - 1.0) == start - 1.0
    whole = sent_at(line, UP, 200_000, start - 1.0)
    assert whole == pytest.approx(end + 1.0)


def test_outages_take_the_share_of_time_they_are_said_to() -> None:
    patchy = structs.replace(STEADY, outage_every_s=1000.0, outage_s=100.0)
    moments = [(seed, 13.7 * n) for seed in range(40) for n in range(100)]
    down = [up_again(Line(patchy, seed), at) > at for seed, at in moments]
    assert sum(down) / len(down) == pytest.approx(0.1, abs=0.02)


@given(st.integers(0, 2**63), st.floats(0, 1e6))
def test_the_next_outage_is_not_over_yet(seed: int, at: float) -> None:
    patchy = structs.replace(STEADY, outage_every_s=1000.0, outage_s=100.0)
    down = next_outage(Line(patchy, seed), at)
    assert down is not None
    assert at < down[1]
    assert down[0] < down[1]


def test_who_is_never_down_has_no_next_outage() -> None:
    assert next_outage(Line(STEADY, 1), 5.0) is None


def test_metered_hours_end_where_the_night_tariff_begins() -> None:
    line = Line(kind("3g"), 1)
    assert is_metered(line, 0.0, day_start_s=12 * 3600.0)
    assert not is_metered(line, 14 * 3600.0, day_start_s=12 * 3600.0)
    assert not is_metered(Line(kind("wifi"), 1), 0.0)


def test_a_plan_that_became_metered_is_so_from_then_on() -> None:
    line = Line(kind("wifi"), 1, metered_since=100.0)
    assert (is_metered(line, 99.0), is_metered(line, 100.0)) == (False, True)


def traced(home: Path, monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    (home / "bandwidth").mkdir()
    (home / "bandwidth" / "cooked_3gp.jsonl.gz").write_bytes(text)
    monkeypatch.setenv("QFLEET_TRACES", str(home))
    traces.family.cache_clear()


def test_traces_are_means_by_slot_and_run_in_a_circle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"name": "bus", "t_s": [0, 2, 4, 11, 35, 36], "mbps": [1, 2, 3, 8, 4, 4]}
    traced(tmp_path, monkeypatch, gzip.compress(json.dumps(row).encode()))
    assert traces.family("3g") == ((2.0, 8.0, 8.0, 4.0),)
    line = Line(kind("3g"), seed=1, trace=traces.family("3g")[0])
    rates = [rate(line, DOWN, 10.0 * n) / 125_000 for n in range(4)]
    assert rates == [8.0, 8.0, 4.0, 2.0]
    assert rate(line, UP, 0.0) / 125_000 == pytest.approx(8.0 * 0.5 / 1.35)


@pytest.mark.parametrize("text", [b"", b"no gzip", gzip.compress(b"{}"), gzip.compress(b"x" * 99)])
def test_a_broken_file_of_traces_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    traced(tmp_path, monkeypatch, text)
    if not text or text == gzip.compress(b""):
        assert traces.family("3g") == ()
        return
    with pytest.raises(ConfigError, match=r"QFLEET_TRACES: .*cooked_3gp"):
        traces.family("3g")


def test_without_traces_links_fall_back_on_their_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QFLEET_TRACES", raising=False)
    traces.family.cache_clear()
    assert traces.family("3g") == ()
    assert math.isfinite(rate(Line(kind("3g"), 1), UP, 0.0))
