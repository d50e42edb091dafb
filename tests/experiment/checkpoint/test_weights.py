import io
import json

import pytest
import torch
from safetensors.torch import load, save

from mmkit.errors import RefusedError
from mmkit.experiment.checkpoint.manifest import WEIGHTS, Member, new_hash
from mmkit.experiment.checkpoint.weights import read_weights, write_weights


def _written(tensors):
    file = io.BytesIO()
    write_weights(tensors, file)
    return file.getvalue()


def _read(directory, data):
    (directory / WEIGHTS).write_bytes(data)
    digest = new_hash()
    digest.update(data)
    return read_weights(directory, WEIGHTS, Member(len(data), digest.hexdigest()))


def test_the_library_reads_what_is_written():
    tensors = {
        "a": torch.randn(3, 2),
        "b": torch.arange(5, dtype=torch.int8),
        "c": torch.randn(3).bfloat16(),
        "d": torch.tensor(True),
    }
    read = load(_written(tensors))
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) and read[name].dtype == tensors[name].dtype for name in tensors)


def test_tensors_are_aligned_to_their_type():
    data = _written({"a": torch.tensor([True]), "b": torch.randn(3).double(), "c": torch.randn(1).half(), "d": torch.randn(2)})
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    widths = {"BOOL": 1, "F64": 8, "F16": 2, "F32": 4}
    for name in "abcd":
        assert (8 + size + header[name]["data_offsets"][0]) % widths[header[name]["dtype"]] == 0


def test_shared_tensors_are_stored_once_and_shared_when_read(tmp_path):
    tied = torch.randn(100, 100)
    data = _written({"first": tied, "second": tied, "other": torch.randn(2)})
    assert len(data) < 1.5 * tied.nbytes
    read = _read(tmp_path, data)
    assert read["first"] is read["second"]
    assert torch.equal(read["first"], tied)


def test_views_that_only_overlap_are_stored_each(tmp_path):
    whole = torch.randn(4, 4)
    read = _read(tmp_path, _written({"whole": whole, "transposed": whole.t(), "row": whole[0]}))
    assert torch.equal(read["transposed"], whole.t())
    assert torch.equal(read["row"], whole[0])


def test_empty_tensors_are_not_taken_for_one(tmp_path):
    read = _read(tmp_path, _written({"a": torch.empty(0, 2), "b": torch.empty(3, 0)}))
    assert (read["a"].shape, read["b"].shape) == ((0, 2), (3, 0))


def _with_header(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def _entry(shape, offsets, dtype="F32"):
    return {"__metadata__": {"mmkit.aliases": "{}"}, "a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        (1 << 62).to_bytes(8, "little"),
        _with_header(b"{"),
        _with_header(b"[" * 100_000),
        _with_header([1]),
        _with_header({"a": 1}),
        _with_header(_entry([2], [0, 4]), bytes(4)),
        _with_header(_entry([1], [4, 8]), bytes(8)),
        _with_header(_entry([-1, -1], [0, 4]), bytes(4)),
        _with_header(_entry([1 << 62, 1 << 62, 0], [0, 0])),
        _with_header(_entry([1 << 80, 0], [0, 0])),
        _with_header(_entry([1], [0, 4], "Q99"), bytes(4)),
        _with_header(_entry([1], [0, 4]), bytes(5)),
        _with_header({"__metadata__": {"mmkit.aliases": '{"b": "c"}'}}),
        _with_header({"__metadata__": {"mmkit.aliases": "[]"}}),
    ],
)
def test_a_forged_file_is_refused(tmp_path, data):
    with pytest.raises(RefusedError, match=r"model.safetensors is damaged"):
        _read(tmp_path, data)


def test_a_file_of_another_program_is_refused_as_weights_of_a_checkpoint(tmp_path):
    with pytest.raises(RefusedError, match="its header cannot be read"):
        _read(tmp_path, save({"a": torch.ones(2)}))
