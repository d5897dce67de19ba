"""A run's picture and its table, from no more than the result a demo gives."""

import numpy as np
import pytest
from matplotlib import image

from firmware_sim.plot import draw
from firmware_sim.show import show


def result(rounds: int) -> dict[str, object]:
    history = [
        {"round": n, "accuracy": 0.7 + n / 50, "updates": 2, "bytes_up": 560, "bytes_down": 1500}
        for n in range(1, rounds + 1)
    ]
    return {
        "clients": 2,
        "seed": 7,
        "accuracy": history[-1]["accuracy"],
        "pooled_accuracy": 0.95,
        "worst_decile": 0.61,
        "broker": "mosquitto",
        "sizes": [30, 41],
        "test_rows": 23,
        "updates": 2 * rounds,
        "bytes_per_update": 280.0,
        "cpu_s": 1.5,
        "seconds": 2.5,
        "history": history,
    }


@pytest.mark.parametrize("rounds", [1, 5])
def test_the_picture_is_a_png_with_something_on_it(tmp_path, rounds):
    path = tmp_path / "picture.png"
    draw(result(rounds), path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = image.imread(path)
    assert pixels.shape[:2] == (480, 1200)
    # Lines and letters in both halves, and more than one colour of them.
    for half in np.split(pixels[:, :, :3], 2, axis=1):
        assert (half < 0.5).any(axis=2).sum() > 500
        assert len(np.unique(half.reshape(-1, 3), axis=0)) > 10


def test_another_result_gives_another_picture(tmp_path):
    one, same, other = (tmp_path / name for name in ("1.png", "2.png", "3.png"))
    draw(result(3), one)
    draw(result(3), same)
    draw(result(4), other)
    pictures = [image.imread(path) for path in (one, same, other)]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_the_table_names_what_the_json_names(capsys):
    show(result(2))
    said = capsys.readouterr().out
    for text in ("30, 41 rows", "23 test rows", "0.7200", "0.7400", "1,500", "280.0 bytes up"):
        assert text in said
    for text in ("0.6100", "0.9500", "4 updates", "broker mosquitto", "1.5 CPU seconds"):
        assert text in said
