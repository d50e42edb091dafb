import gzip

import numpy as np
import pytest

from mmkit.datasets.fashion_mnist.idx import read_idx
from mmkit.errors import RefusedError


CONTENT = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255])


@pytest.fixture
def write(tmp_path):
    def write(content):
        (tmp_path / "file").write_bytes(content)
        return tmp_path / "file"

    return write


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_values_have_the_shape_of_the_header(write, compress):
    assert np.array_equal(read_idx(write(compress(CONTENT))), [[1, 2, 3], [4, 5, 255]])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no idx file: it begins with nothing"),
        (b"PK\3\4", "is no idx file: it begins with 50 4b 03 04, not with 00 00"),
        (CONTENT[:2] + b"\x0d" + CONTENT[3:], r"holds values of the type 0x0d; only unsigned bytes \(0x08\) are read"),
        (CONTENT[:-1], r"is damaged: 5 values where its header says \(2, 3\)"),
        (CONTENT + b"\0", r"is damaged: 7 values where its header says \(2, 3\)"),
        (CONTENT[:10], r"is damaged: 0 values where its header says \(\)"),
        (CONTENT[:3] + b"\0", r"is damaged: 0 values where its header says \(\)"),
        (gzip.compress(CONTENT)[:-9], "cannot be read: Compressed file ended"),
        (gzip.compress(CONTENT)[:10] + b"\xff" * 20, "cannot be read: Error -3"),
    ],
    ids=["empty", "zip", "floats", "short", "long", "header", "no_dimensions", "cut_gzip", "bad_gzip"],
)
def test_other_files_are_refused(write, content, says):
    with pytest.raises(RefusedError, match=says):
        read_idx(write(content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RefusedError, match=r"none.gz cannot be read: .*No such file"):
        read_idx(tmp_path / "none.gz")


def test_shapes_that_overflow_are_refused(write):
    with pytest.raises(RefusedError, match=r"header says \(4294967295, 4294967295, 4294967295\)"):
        read_idx(write(bytes([0, 0, 8, 3]) + b"\xff" * 12))
