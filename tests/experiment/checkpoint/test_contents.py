import json
import math
import os
import subprocess
import sys
from collections import Counter, OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.errors import RefusedError
from mmkit.experiment.checkpoint import DirectoryCheckpointIO, verify
from mmkit.experiment.checkpoint.manifest import MANIFEST, TRAINER, Member, decode, encode, new_hash


def _round_trip(directory, checkpoint, asynchronous=True):
    io = DirectoryCheckpointIO(asynchronous=asynchronous)
    io.save_checkpoint(checkpoint, directory / "saved")
    io.wait()
    return io.load_checkpoint(directory / "saved")


@pytest.mark.parametrize("asynchronous", [True, False], ids=["asynchronous", "synchronous"])
def test_a_checkpoint_is_read_as_torch_save_would_give_it_back(tmp_path, content, assert_same, asynchronous):
    checkpoint = content(7, score=0.25) | {
        "callbacks": {"EarlyStopping{'monitor': 'x'}": {"best": torch.tensor(0.5), "patience": 3}},
        "plain": [1, -(2**70), 1.5, math.inf, math.nan, "é\n", b"\0", None, True, (1, (2,)), {3, 4}, 1 + 2j, Counter("aab")],
        "kinds": {torch.float16: torch.device("cpu"), 3: torch.Size([2])},
        "empty": {"a": {}, "b": [], "c": (), "d": OrderedDict()},
    }
    torch.save(checkpoint, tmp_path / "oracle.pt")
    oracle = torch.load(tmp_path / "oracle.pt", weights_only=True)
    assert_same(_round_trip(tmp_path, checkpoint, asynchronous), oracle)


STORED = {
    "not contiguous": torch.arange(20.0).view(4, 5).t(),
    "a slice": torch.arange(100.0).view(10, 10)[2:5, 3:7],
    "expanded": torch.arange(3.0)[:, None].expand(3, 4),
    "scalar": torch.tensor(3.25),
    "empty": torch.empty(0, 3),
    "bfloat16": torch.randn(5).bfloat16(),
    "float16": torch.randn(5).half(),
    "float64": torch.randn(5).double(),
    "float8": torch.randn(5).to(torch.float8_e4m3fn),
    "int64": torch.tensor([-(2**62), 2**62]),
    "uint8": torch.arange(7, dtype=torch.uint8),
    "uint32": torch.tensor([0, 2**32 - 1], dtype=torch.uint32),
    "bool": torch.tensor([True, False, True]),
    "complex64": torch.randn(3, dtype=torch.complex64),
    "NaN and infinity": torch.tensor([math.nan, math.inf, -math.inf, -0.0]),
    "subnormal": torch.tensor([1e-45]),
    "a parameter": torch.nn.Parameter(torch.randn(2)),
}
KEPT_ELSEWHERE = {
    "complex128": torch.randn(3, dtype=torch.complex128),
    "a plain value": {"version": 1},
    "a lazy conjugate": torch.randn(3, dtype=torch.complex64).conj(),
}


@pytest.mark.parametrize("name", [*STORED, *KEPT_ELSEWHERE])
def test_every_kind_of_weight_comes_back_bit_by_bit(tmp_path, assert_same, name):
    value = {**STORED, **KEPT_ELSEWHERE}[name]
    weights = OrderedDict([("before", torch.ones(1)), (name, value), ("after", torch.ones(2))])
    read = _round_trip(tmp_path, {"state_dict": weights})["state_dict"]
    assert list(read) == list(weights)
    plain = value.detach() if isinstance(value, torch.Tensor) else value
    assert_same(read[name], plain.resolve_conj() if name == "a lazy conjugate" else plain)


def test_sparse_and_quantized_weights_come_back(tmp_path):
    sparse = torch.eye(3).to_sparse()
    read = _round_trip(tmp_path, {"state_dict": {"sparse": sparse}})["state_dict"]
    assert read["sparse"].is_sparse
    assert torch.equal(read["sparse"].to_dense(), torch.eye(3))


@given(
    shapes=st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=6),
    dtypes=st.lists(
        st.sampled_from([torch.float32, torch.int8, torch.bool, torch.bfloat16, torch.int64]), min_size=6, max_size=6
    ),
    tie=st.booleans(),
)
def test_any_mixture_of_shapes_and_types_comes_back(tmp_path_factory, shapes, dtypes, tie):
    weights = OrderedDict(
        (f"{number}", (torch.arange(math.prod(shape)) % 2).reshape(shape).to(dtype))
        for number, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=False))
    )
    if tie and weights:
        weights["tied"] = weights["0"]
    read = _round_trip(tmp_path_factory.mktemp("any"), {"state_dict": weights})["state_dict"]
    assert list(read) == list(weights)
    assert all(torch.equal(read[name], weights[name]) and read[name].dtype == weights[name].dtype for name in weights)


@pytest.mark.parametrize(
    "checkpoint", [{}, {"epoch": 3}, {"state_dict": {}}, {"mmkit_state": {}}, {"mmkit_state": {}, "state_dict": {}}]
)
def test_what_is_absent_stays_absent(tmp_path, checkpoint):
    assert _round_trip(tmp_path, checkpoint) == checkpoint


def test_tuples_in_the_state_come_back_as_lists(tmp_path):
    assert _round_trip(tmp_path, {"mmkit_state": {"a": (1, 2)}}) == {"mmkit_state": {"a": [1, 2]}}


def test_tensors_that_share_memory_share_it_again(tmp_path):
    whole = torch.arange(6.0)
    read = _round_trip(tmp_path, {"optimizer_states": [{"whole": whole, "part": whole[2:4]}]})["optimizer_states"][0]
    read["whole"][2] = 9
    assert read["part"].tolist() == [9, 3]


def test_the_members_are_what_their_names_say(tmp_path, save):
    path = save(tmp_path, 12, score=0.5)
    plain = ["config.yaml", "manifest.json", "state.json"]
    assert sorted(os.listdir(path)) == sorted([*plain, "model.safetensors", "trainer.pt", "trainer.safetensors"])
    assert json.loads((path / "state.json").read_text()) == {"step": 12, "epoch": 1, "score": 0.5, "monitor": "val/loss"}
    assert (path / "config.yaml").read_text() == "seed: 1\n"
    manifest = verify(path)
    assert (manifest.step, manifest.epoch, manifest.score, manifest.monitor) == (12, 1, 0.5, "val/loss")
    assert manifest.members["trainer.pt"].size == (path / "trainer.pt").stat().st_size


def test_without_a_configuration_there_is_no_member_for_it(tmp_path, save):
    path = save(tmp_path, 1, config_yaml=None)
    assert "config.yaml" not in verify(path).members


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_no_score(tmp_path, save, score):
    path = save(tmp_path, 1, score)
    assert verify(path).score is None
    assert repr(DirectoryCheckpointIO().load_checkpoint(path)["mmkit_state"]["score"]) == repr(score)


class _Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def _forged(path, name, data):
    """Replace a member and state its digest, as someone could who wants it to be loaded."""
    (path / name).write_bytes(data)
    digest = new_hash()
    digest.update(data)
    manifest = decode((path / MANIFEST).read_bytes())
    manifest.members[name] = Member(len(data), digest.hexdigest())
    (path / MANIFEST).write_bytes(encode(manifest))
    verify(path)


def test_a_pickle_that_would_execute_something_is_refused_and_nothing_is_executed(tmp_path, save):
    path, target = save(tmp_path, 1), tmp_path / "executed"
    torch.save({"checkpoint": {"x": _Attack(target)}}, tmp_path / "attack.pt")
    _forged(path, TRAINER, (tmp_path / "attack.pt").read_bytes())
    with pytest.raises(RefusedError, match=r"step-000001: trainer.pt holds more than tensors and plain values: .*mkdir"):
        DirectoryCheckpointIO().load_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize("data", [b"", b"junk", b"\x80\x04N.", bytes(1000)], ids=["empty", "text", "bare pickle", "zeros"])
def test_a_trainer_part_that_is_something_else_is_refused(tmp_path, save, data):
    path = save(tmp_path, 1)
    _forged(path, TRAINER, data)
    with pytest.raises(RefusedError, match="step-000001: "):
        DirectoryCheckpointIO().load_checkpoint(path)


def test_members_that_do_not_fit_together_are_refused(tmp_path, save):
    path = save(tmp_path, 1)
    torch.save({"checkpoint": {"state_dict": None}, "weight_names": ["unknown"], "places": []}, tmp_path / "other.pt")
    _forged(path, TRAINER, (tmp_path / "other.pt").read_bytes())
    with pytest.raises(RefusedError, match="its members do not fit together"):
        DirectoryCheckpointIO().load_checkpoint(path)


def test_looking_at_checkpoints_does_not_import_torch():
    code = "import sys, mmkit.experiment.checkpoint, mmkit.cli.ckpt; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
