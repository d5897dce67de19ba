"""A file is the old one or the new one, never half of either, and nobody else's to read."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from proto.errors import (
    ConfigError,
    LocalError,
    QfleetError,
    RemoteError,
    SealError,
    StorageError,
    TransportError,
)
from proto.exits import exit_code
from proto.files import write_whole

ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from proto.errors import StorageError
from proto.files import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(Path(sys.argv[1]), b"n" * 5000)
except StorageError as error:
    print(error)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_with_the_folders_above_it(tmp_path):
    path = tmp_path / "a" / "b" / "state.json"
    for content in (b"old", b"", b"new" * 100_000):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert names(path.parent) == ["state.json"]


def test_a_file_and_its_folder_are_their_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        write_whole(tmp_path / "home" / "box.key", b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "home" / "box.key").stat().st_mode) == 0o600


def test_what_lay_open_before_does_not_lay_the_secret_open(tmp_path):
    path, left = tmp_path / "box.key", tmp_path / "box.key.new"
    for old in (path, left):
        old.write_bytes(b"left by a power cut")
        old.chmod(0o666)
    write_whole(path, b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"secret"


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    (tmp_path / "box.key.new").symlink_to(elsewhere)
    (tmp_path / "box.key").symlink_to(elsewhere)
    write_whole(tmp_path / "box.key", b"secret")
    assert elsewhere.read_bytes() == b"untouched"
    assert (tmp_path / "box.key").read_bytes() == b"secret"


def test_on_a_full_disk_the_old_content_stays_and_no_rest_is_left(tmp_path):
    path = tmp_path / "state.json"
    write_whole(path, b"old")
    command = [sys.executable, "-c", ON_A_FULL_DISK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.startswith(f"cannot write {path}: File too large")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["state.json"]


@pytest.mark.parametrize("name", ["file/below", "folder"])
def test_a_place_where_no_file_can_be_is_a_storage_error(tmp_path, name):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot write"):
        write_whole(tmp_path / name, b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file", "folder"]


def test_an_error_exits_by_whose_fault_it_is():
    kinds: list[tuple[type[QfleetError], int]] = [
        (ConfigError, 2),
        (TransportError, 3),
        (RemoteError, 4),
        (SealError, 4),
        (StorageError, 5),
        (LocalError, 6),
        (QfleetError, 7),
    ]
    for kind, code in kinds:
        assert exit_code(kind("why")) == code


def test_every_error_of_ours_has_a_code_and_a_sentence():
    def below(kind: type[QfleetError]) -> list[type[QfleetError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in below(child))]

    for kind in below(QfleetError):
        assert 2 <= exit_code(kind("why")) <= 7
        assert kind.__doc__


def test_a_path_of_no_suffix_and_one_of_two_are_both_fine(tmp_path: Path):
    for name in ("m", "3", "coordinator-1.key", "a.b.c"):
        write_whole(tmp_path / name, name.encode())
        assert (tmp_path / name).read_bytes() == name.encode()
