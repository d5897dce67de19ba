import numpy as np
import pytest

from edge_client.columns import choose, load_features
from proto.errors import ConfigError


def test_columns_are_chosen_by_name_in_the_tasks_order():
    X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert choose(X, ("a", "b", "c"), ("c", "a")).tolist() == [[3, 1], [6, 4]]


def test_a_missing_column_is_named_and_the_others_counted():
    X = np.zeros((1, 2))
    with pytest.raises(ConfigError, match=r"no column 'x' \(2 of 3 missing\)"):
        choose(X, ("a", "b"), ("a", "x", "y"))


def written(folder, text: str) -> str:
    path = folder / "rows.csv"
    path.write_text(text)
    return str(path)


def test_rows_to_predict_on_need_no_label_and_may_have_more_columns(tmp_path):
    source = written(tmp_path, "name, b ,a\nbolt,2,1\nnut,4,3\n")
    assert load_features(source, ("a", "b")).tolist() == [[1, 2], [3, 4]]


def test_no_rows_are_an_empty_table_of_the_right_width(tmp_path):
    assert load_features(written(tmp_path, "a,b\n"), ("b", "a")).shape == (0, 2)


def test_a_training_file_serves_too(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez(path, X=np.array([[1.0, 2.0]]), y=np.array([0]))
    assert load_features(str(path), ("x1",)).tolist() == [[2]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,two\n", r"line 2 column 'b': 'two' is not a number"),
        ("a,b\n1,nan\n", r"line 2 column 'b': 'nan' is not a number"),
        ("a,b\n1,2\n1\n", r"line 3 column 'b': None is not a number"),
        ("a\n1\n", r"no column 'b' \(1 of 2 missing\)"),
        ("", r"no column 'a' \(2 of 2 missing\)"),
        ('a,b\n"1,2\n', "not a text table"),
    ],
)
def test_bad_rows_are_refused_with_their_place(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        load_features(written(tmp_path, text), ("a", "b"))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_features(str(tmp_path / "missing.csv"), ("a",))
    (tmp_path / "binary.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(ConfigError, match="not a text table"):
        load_features(str(tmp_path / "binary.csv"), ("a", "b"))
