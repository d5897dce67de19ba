"""Keys are made once, at the first start, and never behind anybody's back."""

import pytest

from coordinator.doctor import examine
from coordinator.keys import make_keys, read_keys, rekey
from coordinator.store import Store
from proto.errors import ConfigError, SealError
from proto.identity import open_record

NOW = 1_700_000_000.0


def test_the_first_start_makes_keys_and_later_ones_read_them(tmp_path):
    made = make_keys(tmp_path, "fleet", NOW)
    again = make_keys(tmp_path, "fleet", NOW + 9)
    assert again.record_bytes == made.record_bytes
    assert again.identity.public == made.identity.public == made.record.key
    assert open_record(made.record_bytes, made.root_public, 1) == made.record
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["root.pub", "record.bin", "coordinator-1.key", "broker.secret"])
def test_a_key_that_is_missing_is_named_and_not_made_anew(tmp_path, name):
    make_keys(tmp_path, "fleet", NOW)
    Store(tmp_path / "qfleet.db").close()
    (tmp_path / name).unlink()
    for attempt in (read_keys, lambda home, fleet: make_keys(home, fleet, NOW)):
        with pytest.raises(ConfigError, match=rf"{name} cannot be read.*backup"):
            attempt(tmp_path, "fleet")
    assert not (tmp_path / name).exists()


def test_the_doctor_looks_and_makes_nothing(tmp_path):
    Store(tmp_path / "qfleet.db").close()
    findings = examine(tmp_path)
    assert any("root.pub cannot be read" in str(finding["advice"]) for finding in findings)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("qfleet.db")] == []


def test_a_new_key_has_a_higher_serial_and_ends_the_old_one(tmp_path):
    old = make_keys(tmp_path, "fleet", NOW)
    record = rekey(tmp_path, "fleet", NOW)
    assert record.serial == old.record.serial + 1
    assert read_keys(tmp_path, "fleet").identity.public == record.key != old.record.key
    with pytest.raises(SealError, match="serial 1"):
        open_record(old.record_bytes, old.root_public, record.serial)


def test_a_new_key_needs_the_root_and_says_so(tmp_path):
    make_keys(tmp_path, "fleet", NOW)
    (tmp_path / "root.key").unlink()
    with pytest.raises(ConfigError, match="root's key is not at"):
        rekey(tmp_path, "fleet", NOW)


def test_another_fleets_keys_are_not_taken(tmp_path):
    make_keys(tmp_path, "fleet", NOW)
    with pytest.raises(ConfigError, match="belongs to fleet 'fleet'"):
        read_keys(tmp_path, "other")
