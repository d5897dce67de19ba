import contextlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_client import dataset
from edge_client.dataset import encode, load, split
from proto.errors import ConfigError

CSV = "age,kind,size\n1,cat,2.5\n3,dog,-4e2\n5,cat,0\n"


def csv(folder: Path, text: str) -> str:
    path = folder / "rows.csv"
    path.write_text(text)
    return str(path)


def npz(folder: Path, **arrays: np.ndarray) -> str:
    path = folder / "rows.npz"
    np.savez_compressed(path, **arrays)
    return str(path)


def test_a_csv_gives_numbers_labels_and_column_names(tmp_path):
    table = load(csv(tmp_path, CSV), "kind")
    assert table.X.tolist() == [[1, 2.5], [3, -400], [5, 0]]
    assert table.columns == ("age", "size")
    assert table.labels == ("cat", "dog", "cat")
    assert table.classes == ("cat", "dog")
    assert table.y.tolist() == [0, 1, 0]


def test_the_label_is_the_last_column_unless_another_is_named(tmp_path):
    table = load(csv(tmp_path, "a,b,y\n1,2,10\n3,4,9\n\n"))
    assert table.columns == ("a", "b")
    assert table.classes == ("9", "10")


def test_a_box_may_hold_one_class_only(tmp_path):
    assert load(csv(tmp_path, "a,y\n1,x\n2,x\n")).classes == ("x",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b,y\n1,2,x\n1,two,x\n", r"line 3 column 'b': 'two' is not a number"),
        ("a,b,y\n1,nan,x\n", r"line 2 column 'b': 'nan' is not finite"),
        ("a,b,y\n1,inf,x\n", r"'inf' is not finite"),
        ("a,b,y\n1,,x\n", r"column 'b': '' is not a number"),
        ("a,b,y\n1,2,x\n3,4\n", r"line 3: 2 cells, 3 expected"),
        ("a,b,y\n1,2,\n", r"line 2: no label in column 'y'"),
        ("a,a,y\n1,2,x\n", r"same name"),
        ("a,b,y\n", r"no rows"),
        ("", r"header"),
        ("y\nx\n", r"header"),
        ('a,y\n"1,x\n', r"not a text table"),
    ],
)
def test_a_faulty_csv_is_refused_where_it_is_faulty(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        load(csv(tmp_path, text))


def test_a_target_that_is_no_column_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match="no column 'sort'; there are age, kind, size"):
        load(csv(tmp_path, CSV), "sort")


def test_an_npz_gives_x_and_y(tmp_path):
    table = load(npz(tmp_path, X=np.eye(3, dtype=np.float32), y=np.array([0, 2, 0])))
    assert np.array_equal(table.X, np.eye(3))
    assert table.X.dtype == np.float64
    assert table.columns == ("x0", "x1", "x2")
    assert table.labels == ("0", "2", "0")


def test_an_npz_may_name_its_labels(tmp_path):
    assert load(npz(tmp_path, X=np.eye(2), y=np.array(["up", "down"]))).labels == ("up", "down")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"X": np.eye(2)}, "X and y are needed"),
        ({"X": np.eye(2), "y": np.zeros(3, int)}, "do not fit"),
        ({"X": np.eye(2), "y": np.zeros(2)}, "y holds float64"),
        ({"X": np.array([[1.0], [np.nan]]), "y": np.zeros(2, int)}, "row 1 column 'x0'"),
        ({"X": np.array([["a"]]), "y": np.zeros(1, int)}, "do not fit"),
        ({"X": np.empty((0, 2)), "y": np.zeros(0, int)}, "no rows"),
        ({"X": np.empty((2, 0)), "y": np.zeros(2, int)}, "0 columns"),
        ({"X": np.array([[None]]), "y": np.zeros(1, int)}, "not a whole .npz"),
    ],
)
def test_a_faulty_npz_is_refused(tmp_path, arrays, said):
    with pytest.raises(ConfigError, match=said):
        load(npz(tmp_path, **arrays))


def test_an_npz_that_would_unpack_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    source = npz(tmp_path, X=np.zeros((1000, 100)), y=np.zeros(1000, int))
    assert Path(source).stat().st_size < 5000
    monkeypatch.setattr(dataset, "MAX_FILE_BYTES", 100_000)
    with pytest.raises(ConfigError, match="unpacks to more than"):
        load(source)


def test_an_npz_whose_header_claims_more_than_it_holds_is_refused_unallocated(tmp_path):
    member = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(tmp_path / "rows.npz", "w") as members:
        members.writestr("X.npy", member.getvalue())
        members.writestr("y.npy", b"")
    with pytest.raises(ConfigError, match="than its header says"):
        load(str(tmp_path / "rows.npz"))


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_npz_gives_a_table_or_a_config_error(tmp_path, data):
    path = Path(npz(tmp_path, X=np.eye(3), y=np.arange(3)))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    with contextlib.suppress(ConfigError):
        assert load(str(path)).X.shape == (3, 3)


def test_a_file_that_is_missing_too_large_or_of_another_kind_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="No such file"):
        load(str(tmp_path / "none.csv"))
    with pytest.raises(ConfigError, match=r"\.csv or \.npz"):
        load("rows.xlsx")
    monkeypatch.setattr(dataset, "MAX_FILE_BYTES", 10)
    with pytest.raises(ConfigError, match="larger than 10 bytes"):
        load(csv(tmp_path, CSV))


def test_more_rows_or_cells_than_a_box_can_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "MAX_ROWS", 2)
    with pytest.raises(ConfigError, match="more than 2 rows"):
        load(csv(tmp_path, CSV), "kind")


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("breast_cancer", (569, 30), 2), ("digits", (1797, 64), 10), ("wine", (178, 13), 3)],
)
def test_the_examples_are_scikit_learns(name, shape, classes):
    table = load(f"sklearn:{name}")
    assert table.X.shape == shape
    assert len(table.classes) == classes
    assert len(table.columns) == shape[1]


def test_an_example_may_be_cut_to_some_of_its_classes():
    table, whole = load("sklearn:digits:8,3"), load("sklearn:digits")
    assert table.classes == ("8", "3")
    assert [table.labels.count(name) for name in "83"] == [whole.labels.count(n) for n in "83"]
    first = whole.labels.index("3")
    assert np.array_equal(table.X[table.labels.index("3")], whole.X[first])
    with pytest.raises(ConfigError, match="no class '12'; there is 0, 1, 2"):
        load("sklearn:digits:3,12")


def test_an_example_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match="breast_cancer, digits, wine, iris"):
        load("sklearn:moons")


def test_without_scikit_learn_an_example_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'qfleet\[demo\]'"):
        load("sklearn:iris")


def test_labels_are_numbered_by_the_task_and_not_by_the_box():
    assert encode(["dog", "dog"], ["cat", "dog"]).tolist() == [1, 1]
    with pytest.raises(ConfigError, match="'cow' is not a class of the task: cat, dog"):
        encode(["dog", "cow"], ["cat", "dog"])


@given(st.integers(12, 300), st.integers(0, 2**32 - 1), st.floats(0, 0.45), st.floats(0, 0.45))
def test_a_split_uses_each_row_once(rows, seed, validation, test):
    parts = split(rows, seed, validation, test)
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    assert len(parts[0]) >= 1
    assert [len(part) > 0 for part in parts[1:]] == [validation > 0, test > 0]
    again = split(rows, seed, validation, test)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def test_a_split_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(ConfigError, match="too few"):
        split(1, 0, 0.2)
    with pytest.raises(ConfigError, match="nothing to train on"):
        split(10, 0, 0.5, 0.5)
