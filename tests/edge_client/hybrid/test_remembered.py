import os

import numpy as np
import pytest

from edge_client.hybrid.remembered import KEEP, remembered


class Counted:
    """Work that counts how often it is done."""

    def __init__(self, rows: int = 3) -> None:
        self.times, self.found = 0, np.arange(2.0 * rows, dtype=np.float32).reshape(rows, 2)

    def __call__(self) -> np.ndarray:
        self.times += 1
        return self.found


def test_work_is_done_once(tmp_path):
    work = Counted()
    first = remembered(tmp_path, "a", (3, 2), work)
    again = remembered(tmp_path, "a", (3, 2), work)
    assert work.times == 1
    assert np.array_equal(first, work.found)
    assert np.array_equal(again, work.found)


@pytest.mark.parametrize("harm", [lambda d: d[:-1], lambda d: b"\1" + d[1:], lambda _: b""])
def test_a_damaged_file_is_worked_out_again(tmp_path, harm):
    work = Counted()
    work.found[0, 0] = 7.0
    remembered(tmp_path, "a", (3, 2), work)
    path = tmp_path / "a.read"
    path.write_bytes(harm(path.read_bytes()))
    assert np.array_equal(remembered(tmp_path, "a", (3, 2), work), work.found)
    assert work.times == 2


def test_without_a_folder_nothing_is_kept():
    work = Counted()
    remembered(None, "a", (3, 2), work)
    remembered(None, "a", (3, 2), work)
    assert work.times == 2


def test_the_oldest_files_go(tmp_path):
    for number in range(KEEP + 2):
        remembered(tmp_path, f"n{number}", (3, 2), Counted())
        os.utime(tmp_path / f"n{number}.read", (number, number))
    left = {path.stem for path in tmp_path.glob("*.read")}
    assert len(left) <= KEEP + 1
    assert "n0" not in left
