import csv
import json
import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmkit.datasets.text.opening import Format, open_documents
from mmkit.errors import RefusedError, UsageError


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def documents(path, data, **form):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return open_documents(path, Format(**form), None)


def texts(found):
    return [found.text(i) for i in range(len(found))]


every = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@every
@given(st.lists(st.sampled_from(["a", "é", " ", "\n", "\r\n", "\r", "你好", "\t"])).map("".join))
def test_lines_are_those_that_python_splits(tmp_path, text):
    expected = [line.removesuffix("\r") if ended else line for line, ended in _lines(text)]
    assert texts(documents(tmp_path / "text.txt", text)) == [line for line in expected if line.strip(" \t\r\n\v\f")]


def _lines(text):
    *whole, last = text.split("\n")
    return [(line, True) for line in whole] + [(last, False)]


@every
@given(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"")), st.integers(0, 30))
def test_every_invalid_byte_is_replaced_by_one_character_wherever_it_is_cut(tmp_path, line, at):
    found = documents(tmp_path / "text.txt", b"x" + line, invalid_bytes="replace")
    text = found.text(0)
    escaped = (b"x" + line).decode(errors="surrogateescape")
    assert text == "".join("\ufffd" if "\udc80" <= c <= "\udcff" else c for c in escaped)
    cut = min(at, len(text))
    (offset,) = found.offsets(0, [cut])
    assert found.piece(0, 0, offset) + found.piece(0, offset, None) == text
    assert len(found.piece(0, 0, offset)) == cut


def test_bytes_that_are_not_utf8_are_refused_with_their_line(folder):
    with pytest.raises(RefusedError, match=r"text.txt, line 3: byte 6 is not UTF-8. Convert the file, or set invalid_by"):
        documents(folder / "text.txt", b"a\n\nb\xc3\xa9\xff\n")
    with pytest.raises(RefusedError, match=r"line 1: byte 0 is not UTF-8. The file seems to be UTF-16."):
        documents(folder / "text.txt", "abc\n".encode("utf-16"))
    with pytest.raises(RefusedError, match=r"The file seems to be compressed by gzip."):
        documents(folder / "text.txt", b"\x1f\x8b\x08\x00abc")


rows = st.lists(
    st.tuples(st.text(st.sampled_from('ab,"\n\r é'), max_size=5), st.text(st.sampled_from('x"\n;'), min_size=1)), max_size=6
)


@every
@given(rows, st.sampled_from(["\n", "\r\n"]), st.sampled_from([",", ";", "\t"]))
def test_csv_fields_are_those_of_the_csv_module(tmp_path, rows, line_end, delimiter):
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator=line_end, delimiter=delimiter).writerows([("id", "text"), *rows])
    form = Format("csv_mmap", delimiter=delimiter)
    assert texts(open_documents(path, form, None)) == [text for _, text in rows]


def test_a_csv_column_may_be_named_or_numbered(folder):
    data = 'id,text\n1,"one, 1"\n2,two\n'
    assert texts(documents(folder / "t.csv", data, data_impl="csv_mmap")) == ["one, 1", "two"]
    assert texts(documents(folder / "t.csv", data, data_impl="csv_mmap", field="id")) == ["1", "2"]
    assert texts(documents(folder / "t.csv", data, data_impl="csv_mmap", field=1)) == ["one, 1", "two"]
    assert texts(documents(folder / "t.csv", data, data_impl="csv_mmap", header=False)) == ["id", "1", "2"]
    assert texts(
        documents(folder / "t.tsv", 'a\t5" disk\n', data_impl="csv_mmap", delimiter="\t", quote="", header=False, field=1)
    ) == ['5" disk']


def test_a_field_may_be_longer_than_the_csv_module_likes(folder):
    limit = csv.field_size_limit()
    long = "x" * (limit + 10)
    assert texts(documents(folder / "t.csv", f"text\n{long}\n", data_impl="csv_mmap")) == [long]
    assert csv.field_size_limit() == limit


def test_a_return_within_a_csv_field_is_data(folder):
    assert texts(documents(folder / "t.csv", 'text\na\rb\n"c\r\nd"\r\n', data_impl="csv_mmap")) == ["a\rb", "c\r\nd"]


def test_spaces_at_the_end_of_a_csv_record_are_data(folder):
    assert texts(documents(folder / "t.csv", "text\na  \n \n\nb ", data_impl="csv_mmap")) == ["a  ", "b "]


@pytest.mark.parametrize(
    ("data", "form", "says"),
    [
        ("id,name\n1,x\n", {}, "t.csv has no column 'text'. It has: id, name. Set `field`."),
        ("id,name\n1,x\n", {"field": 2}, "t.csv has no column 2: there are 2, from 0: id, name."),
        ("id,text\n\n1\n", {}, r"t.csv, line 3: the record has 1 fields, column 1 is asked for."),
    ],
    ids=["name", "number", "short"],
)
def test_mistakes_in_csv_are_named(folder, data, form, says):
    with pytest.raises(RefusedError, match=says):
        texts(documents(folder / "t.csv", data, data_impl="csv_mmap", **form))


@every
@given(st.lists(st.text(max_size=8)), st.booleans())
def test_json_fields_are_those_that_were_written(tmp_path, values, ascii_only):
    data = "\n".join(json.dumps({"id": 1, "body": value}, ensure_ascii=ascii_only) for value in values)
    try:
        assert texts(documents(tmp_path / "t.jsonl", data, data_impl="jsonl_mmap", field="body")) == values
    except UnicodeEncodeError:
        assert not ascii_only


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            '{"text": "a"}\n{"txt": "b"}\n',
            r"line 2: an object with a string 'text' is needed, got one with txt.",
        ),
        ('{"text": 5}', r"line 1: an object with a string 'text' is needed, got text=5."),
        ("[1]", r"line 1: an object with a string 'text' is needed, got list"),
        ('\n{"text": ', r"line 2: no JSON: "),
    ],
    ids=["key", "type", "list", "broken"],
)
def test_mistakes_in_json_are_named(folder, data, says):
    with pytest.raises(RefusedError, match=says):
        texts(documents(folder / "t.jsonl", data, data_impl="jsonl_mmap"))


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"data_impl": "mmap"}, "Unknown data_impl 'mmap'. Allowed: text_mmap, csv_mmap, jsonl_mmap."),
        ({"invalid_bytes": "skip"}, "Unknown invalid_bytes 'skip'. Allowed: error, replace."),
        ({"field": "text"}, "has no meaning for text_mmap"),
        ({"data_impl": "jsonl_mmap", "field": 0}, "fields of JSON lines have names"),
        ({"data_impl": "csv_mmap", "delimiter": ""}, "delimiter='' must be one ASCII character."),
        ({"data_impl": "csv_mmap", "quote": "''"}, "must be one ASCII character or none"),
        ({"data_impl": "csv_mmap", "quote": ","}, "delimiter and quote are both ','"),
        ({"data_impl": "csv_mmap", "field": "a", "header": False}, "needs a header"),
        ({"data_impl": "csv_mmap", "field": -1}, "columns are counted from 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(form, says):
    with pytest.raises(UsageError, match=says):
        Format(**form)


@pytest.mark.parametrize(
    ("data", "form"),
    [("a\nb", {}), ("text\na\nb", {"data_impl": "csv_mmap"}), ('{"text": "a"}\n{"text": "b"}', {"data_impl": "jsonl_mmap"})],
    ids=["text", "csv", "jsonl"],
)
def test_workers_open_the_file_themselves(folder, data, form):
    found = documents(folder / "file", data * 1, **form)
    pickled = pickle.dumps(found)
    assert len(pickled) < 1500
    assert texts(pickle.loads(pickled)) == ["a", "b"]


def test_a_worker_refuses_a_file_that_changed(folder):
    pickled = pickle.dumps(documents(folder / "file", "a\nb"))
    (folder / "file").write_text("something else")
    with pytest.raises(RefusedError, match=r"file changed after it was opened. Start again."):
        pickle.loads(pickled)


def test_empty_files_have_no_documents(folder):
    for form in ({}, {"data_impl": "csv_mmap"}, {"data_impl": "jsonl_mmap"}):
        for data in ("", "\n \n", "\ufeff"):
            found = documents(folder / "file", data, **form)
            assert len(found) == 0
            assert len(pickle.loads(pickle.dumps(found))) == 0
    assert len(documents(folder / "file", "text\n", data_impl="csv_mmap")) == 0  # nothing but the names of the columns
