import csv
import random

import numpy as np
import pytest

from mmkit.datasets.text.records import Rules
from mmkit.datasets.text.scanning import scan_file


CSV = Rules('"', ",")


@pytest.fixture
def lines(tmp_path):
    draw = random.Random(0)
    path = tmp_path / "lines.txt"
    path.write_bytes(
        b"".join(b"x" * draw.randrange(50) + draw.choice([b"\n", b"\r\n", b"\n\n"]) for _ in range(3000)) + "é".encode()
    )
    return path


def read(parts, dtype="<i8"):
    return np.concatenate([np.fromfile(part, dtype) for part in parts]).tolist()


def starts_of(path):
    position, starts = 0, []
    with path.open("rb") as file:
        for line in file:
            starts += [position] if line.strip() else []
            position += len(line)
    return starts


def test_several_processes_find_what_one_does(lines, tmp_path):
    done = []
    parts, findings = scan_file(lines, Rules(), tmp_path, "<i8", 3, done.append, range_bytes=1000)
    assert len(parts) == 3
    assert read(parts) == starts_of(lines)
    assert findings.num_records == len(starts_of(lines))
    assert not findings.is_ascii
    assert sum(done) == lines.stat().st_size


def test_starts_may_be_written_in_32_bits(lines, tmp_path):
    parts, _ = scan_file(lines, Rules(), tmp_path, "<u4", 1, lambda num: None)
    assert read(parts, "<u4") == starts_of(lines)


def test_a_small_file_is_scanned_by_one_process(lines, tmp_path):
    assert len(scan_file(lines, Rules(), tmp_path, "<i8", 8, lambda num: None)[0]) == 1


def test_ranges_of_one_long_line_are_empty(tmp_path):
    path = tmp_path / "long.txt"
    path.write_bytes(b"\n" + b"x" * 10_000)
    parts, findings = scan_file(path, Rules(), tmp_path, "<i8", 4, lambda num: None, range_bytes=1000)
    assert (read(parts), findings.num_records) == ([1], 1)


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "bom.txt"
    path.write_bytes(b"\xef\xbb\xbfa\nb")
    assert read(scan_file(path, Rules(), tmp_path, "<i8", 1, lambda num: None)[0]) == [3, 5]


def test_ranges_of_csv_do_not_start_within_quotes(tmp_path):
    draw = random.Random(0)
    path = tmp_path / "quoted.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for i in range(1500):
            writer.writerow([i, "\n".join("y" * draw.randrange(9) + '"' for _ in range(draw.randrange(20)))])
    one, _ = scan_file(path, CSV, tmp_path, "<i8", 1, lambda num: None)
    expected = read(one)
    parts, findings = scan_file(path, CSV, tmp_path, "<i8", 3, lambda num: None, range_bytes=1000)
    assert len(parts) == 3
    assert read(parts) == expected
    assert (len(expected), findings.bad_quote) == (1500, None)


def test_a_process_that_fails_says_why(lines, tmp_path):
    with pytest.raises(RuntimeError, match=r"The process that scanned .*lines.txt failed with status 1: .*FileNotFoundError"):
        scan_file(lines, Rules(), tmp_path / "missing", "<i8", 2, lambda num: None, range_bytes=1000)
