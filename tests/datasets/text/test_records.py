import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.text.records import RecordScanner, Rules


CSV = Rules('"', ",")


def scanned(data: bytes, block: int, rules: Rules = Rules()):  # noqa: B008
    scanner = RecordScanner(rules, 0)
    starts = [scanner.feed(np.frombuffer(data[i : i + block], np.uint8)) for i in range(0, len(data), block)]
    return np.concatenate([*starts, scanner.finish()]).tolist(), scanner.findings


def starts_read_by_python(data: bytes):
    starts, position = [], 0
    for line in io.BytesIO(data):
        if not line.isspace():
            starts.append(position)
        position += len(line)
    return starts


pieces = st.sampled_from(
    [b"a", b"\n", b"\r", b" ", b"\t", b"\x0b", b"\xc3\xa9", b"\xff", b"\r\n", b"long line", b'"', b",", b" " * 20]
)


@given(st.lists(pieces).map(b"".join) | st.binary(), st.integers(1, 40))
def test_records_are_the_lines_that_python_reads_but_for_blank_ones(data, block):
    starts, findings = scanned(data, block)
    assert starts == starts_read_by_python(data)
    assert findings.num_records == len(starts)
    assert findings.is_ascii == data.isascii()


@given(st.lists(pieces).map(b"".join) | st.binary(), st.integers(1, 40))
def test_the_first_byte_that_is_not_utf8_is_pythons(data, block):
    try:
        data.decode()
        first = None
    except UnicodeDecodeError as error:
        first = error.start
    assert scanned(data, block)[1].first_invalid == first


fields = st.text(st.sampled_from('ab,"\n\r é\t'), max_size=6)


@given(st.lists(st.lists(fields, min_size=1, max_size=4)), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.integers(1, 40))
def test_csv_records_are_those_of_the_csv_module(rows, line_end, quote_all, block):
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    writer = csv.writer(text, lineterminator=line_end, quoting=quoting)
    starts = []
    for row in rows:
        start = text.tell()
        writer.writerow(row)
        if not text.getvalue()[start:].isspace():
            starts.append(len(text.getvalue()[:start].encode()))
    found, findings = scanned(text.getvalue().encode(), block, CSV)
    assert (found, findings.bad_quote) == (starts, None)


@pytest.mark.parametrize("block", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("data", "position"),
    [
        ('a,b\n5" disk,c\n', 5),
        ('"a" b,c\n', 2),
        ('a,b\n"never closed\n\n', 4),
        ('x,""y\n', 3),
        ('"a""b",c\n"d"e', 11),
        ('"a","b""', 7),
    ],
)
def test_a_quote_where_none_may_stand_is_found(data, position, block):
    assert scanned(data.encode(), block, CSV)[1].bad_quote == position


def test_quotes_are_characters_where_there_is_no_quoting():
    assert scanned(b'5" disk\n"\n', 4)[0] == [0, 8]


def test_a_scan_may_start_between_quotes():
    data = b'"a\nb",c\nd\n'
    scanner = RecordScanner(CSV, 2, inside=True, before=data[1])
    scanner.feed(np.frombuffer(data[2:], np.uint8))
    assert scanner.open_start == len(data)
    assert scanner.findings.num_records == 2  # the rest of the first one, and the second
