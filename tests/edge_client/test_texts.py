"""Text tables: what is read, and what a wrong file is told."""

import json

import numpy as np
import pytest

from edge_client.dataset import encode
from edge_client.texts import MAX_LINE, MAX_TEXT, load
from proto.errors import ConfigError


def written(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_csv_gives_texts_numbers_and_labels(tmp_path):
    source = written(tmp_path, "a.csv", 'text,size,label\n"free, now",2.5,spam\nhello,1,ham\n')
    table = load(source, None, "text", ("size",))
    assert table.texts == ("free, now", "hello")
    assert table.labels == ("spam", "ham")
    assert table.X.tolist() == [[2.5], [1.0]]


def test_jsonl_and_tsv_give_the_same_table(tmp_path):
    rows = [("spam", 'win "1000" now'), ("ham", "see you, at 5")]
    lines = [json.dumps({"label": label, "text": text}) for label, text in rows]
    one = load(written(tmp_path, "a.jsonl", "\n".join(lines)), None, "text", ())
    tabs = "label\ttext\n" + "\n".join("\t".join(row) for row in rows)
    two = load(written(tmp_path, "a.tsv", tabs), None, "text", ())
    bare = load(written(tmp_path, "b.tsv", "\n".join("\t".join(r) for r in rows)), None, "text", ())
    assert one.texts == two.texts == bare.texts == tuple(text for _, text in rows)
    assert one.labels == two.labels == bare.labels == ("spam", "ham")
    assert one.X.shape == (2, 0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "text,label\n" + "x" * 10**6 + ",ham\n", f"line 2: longer than {MAX_LINE}"),
        ("a.jsonl", '{"text": "' + "x" * 10**6 + '"}', f"line 1: longer than {MAX_LINE}"),
        ("a.csv", "text,label\n" + "x" * (MAX_TEXT + 1) + ",ham\n", "line 2: a text of 8193"),
        ("a.csv", "text,label\n ,ham\n", "line 2: no text in column 'text'"),
        ("a.csv", "text,label\nhello,\n", "line 2: no label in column 'label'"),
        ("a.csv", "body,label\nhello,ham\n", "no column 'text'; there are body, label"),
        ("a.csv", "text,text\nhello,ham\n", "two columns have the same name"),
        ("a.csv", "text,label\nhello\n", "line 2: 1 cells, 2 expected"),
        ("a.csv", "text,label\n", "there are no rows"),
        ("a.jsonl", '{"text": "a", "label": "b"}\n{"text"', "line 2: not a JSON object"),
        ("a.jsonl", "[" * 5000, "line 1: not a JSON object"),
        ("a.jsonl", '{"label": "b"}', "line 1: no text in column 'text'"),
        ("a.jsonl", '{"text": ["a"], "label": "b"}', "line 1: not a JSON object"),
        ("a.txt", "hello", "a .csv, .tsv or .jsonl file"),
    ],
)
def test_a_bad_file_is_told_what_is_wrong_and_where(tmp_path, name, text, said):
    with pytest.raises(ConfigError, match=said):
        load(written(tmp_path, name, text), None, "text", ())


@pytest.mark.parametrize("cell", ["two", "nan", "inf", ""])
def test_a_cell_that_is_no_number_is_named(tmp_path, cell):
    source = written(tmp_path, "a.csv", f"text,size,label\nhi,1,ham\nhi,{cell},ham\n")
    with pytest.raises(ConfigError, match="line 3 column 'size'"):
        load(source, None, "text", ("size",))


def test_what_is_not_utf_8_is_no_text_table(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n\xff\xfe,ham\n")
    with pytest.raises(ConfigError, match="not a text table"):
        load(str(path), None, "text", ())


def test_a_label_the_task_does_not_have_is_named(tmp_path):
    source = written(tmp_path, "a.csv", "text,label\nhi,phish\n")
    with pytest.raises(ConfigError, match="'phish' is not a class of the task: ham, spam"):
        encode(load(source, None, "text", ()).labels, ("ham", "spam"))


def test_a_box_may_hold_one_class_only(tmp_path):
    table = load(written(tmp_path, "a.csv", "text,label\nhi,ham\n"), None, "text", ())
    assert np.array_equal(encode(table.labels, ("spam", "ham")), [1])
