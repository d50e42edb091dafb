import numpy as np
import pytest
from safetensors.numpy import load_file

from mmkit.datasets.text.container import HEADER_BYTES, DamagedError, read_container, reopened, write_container
from mmkit.errors import RefusedError


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "arrays", [1, 2, 3])
    return tmp_path / "arrays"


def write(path, values):
    arrays = {"wide": np.array([-5], "<i8"), "narrow": np.array(values, "<u4"), "none": np.array([], "<i8")}
    write_container(path, {name: (array.dtype, [array.tobytes()]) for name, array in arrays.items()}, {"about": values})


def test_arrays_come_back(path):
    container = read_container(path)
    assert {name: values.tolist() for name, values in container.arrays.items()} == {"wide": [-5], "narrow": [1, 2, 3], "none": []}
    assert container.meta == {"about": [1, 2, 3]}


def test_safetensors_reads_it(path):
    assert {name: values.tolist() for name, values in load_file(path).items()} == {"wide": [-5], "narrow": [1, 2, 3], "none": []}


def test_nothing_else_is_left(path):
    assert [entry.name for entry in path.parent.iterdir()] == ["arrays"]


def test_a_failure_leaves_what_was_there(path):
    def chunks():
        yield b"12345678"
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_container(path, {"wide": (np.dtype("<i8"), chunks())}, {})
    assert read_container(path).meta == {"about": [1, 2, 3]}
    assert [entry.name for entry in path.parent.iterdir()] == ["arrays"]


@pytest.mark.parametrize("at", [0, 20, HEADER_BYTES, HEADER_BYTES + 9, -1])
def test_a_changed_byte_is_noticed(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match="damaged"):
        read_container(path)


@pytest.mark.parametrize("size", [0, 10, HEADER_BYTES, HEADER_BYTES + 7])
def test_a_shortened_file_is_noticed(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DamagedError):
        read_container(path)


def test_a_worker_refuses_another_file_of_the_name(path):
    checksum = read_container(path).checksum
    assert reopened(path, checksum).meta == {"about": [1, 2, 3]}
    write(path, [4])
    with pytest.raises(RefusedError, match="changed after it was opened"):
        reopened(path, checksum)
