"""The command ``python -m mmkit.models.mega.convert``: what it says and what it refuses."""

import argparse
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mmkit.models.mega import MegaModel
from mmkit.models.mega.convert import main
from tests.models.mega.original_checkpoints import (
    ARGUMENTS,
    converted,
    original_state,
    refused,
    save_folder,
    save_original,
    strong,
)
from tests.models.mega.reference_cases import FP32, decoded, difference, named
from tests.models.mega.tiny import DECODER, SIZES, tokens


def test_one_half_of_an_encoder_decoder_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    encoder, decoder = strong("MegaModel"), strong("MegaModel", add_cross_attention=True, **DECODER)
    state = original_state(encoder, "encoder")
    state |= original_state(decoder, "decoder")
    torch.save({"args": argparse.Namespace(**ARGUMENTS), "model": state}, tmp_path / "both.pt")
    said = refused(capsys, 2, tmp_path / "both.pt", tmp_path / "out")
    assert "an encoder and a decoder. Convert one after the other: --part encoder, --part decoder." in said
    converted(capsys, tmp_path / "both.pt", tmp_path / "encoder", "--part", "encoder")
    converted(capsys, tmp_path / "both.pt", tmp_path / "decoder", "--part", "decoder")
    assert MegaModel.from_pretrained(tmp_path / "encoder").config.bidirectional
    loaded = MegaModel.from_pretrained(tmp_path / "decoder")
    memory_BSD = torch.ones(2, 4, 8)
    with torch.no_grad():
        expected = decoder(tokens(2, 5), encoder_hidden_states=memory_BSD).last_hidden_state
    assert difference(decoded(loaded, [3, 2], input_ids=tokens(2, 5), encoder_hidden_states=memory_BSD), expected) <= FP32


def test_missing_and_unexpected_names_are_refused_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    state = original_state(strong("MegaModel"), "encoder")
    state["encoder.final_norm.norm.scalar"] = state.pop("encoder.layers.1.nffn.fc2.bias")[:1]
    torch.save({"args": argparse.Namespace(**ARGUMENTS), "model": state}, tmp_path / "odd.pt")
    assert main([str(tmp_path / "odd.pt"), str(tmp_path / "out")]) == 3
    said, error = capsys.readouterr()
    assert "1 parameter of the body is missing and 1 tensor has no place; nothing was written." in error
    assert error.count("\n") == 1
    assert "Missing, initialised anew: layers.1.nffn.fc2.bias, pooler.dense.weight, pooler.dense.bias." in said
    assert "Unexpected, without a place in this model: encoder.final_norm.norm.scalar." in said
    assert not (tmp_path / "out").exists()
    assert "Unexpected" in converted(capsys, tmp_path / "odd.pt", tmp_path / "out", "--partial")
    assert (tmp_path / "out" / "model.safetensors").is_file()


class Malicious:
    """Unpickled in the usual way, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("place", ["fairseq", "port", "settings"])
def test_a_pickle_that_wants_to_run_is_refused_and_not_run(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    mark, state = tmp_path / "mark", strong("MegaModel").state_dict()
    if place == "fairseq":
        torch.save({"model": state, "args": Malicious(mark)}, tmp_path / "source")
    elif place == "port":
        save_folder(tmp_path / "source", {**state, "bad": Malicious(mark)}, SIZES)  # type: ignore[dict-item]
    else:
        (tmp_path / "source").mkdir()
        torch.save(state, tmp_path / "source" / "encoder_weights.pt")
        (tmp_path / "source" / "model_args.pkl").write_bytes(pickle.dumps(Malicious(mark)))
    said = refused(capsys, 3, tmp_path / "source", tmp_path / "out")
    assert "mkdir" in said
    assert said.count("\n") == 1
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_without_arguments_asks_for_the_activation(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model, ids_BL = strong("MegaModel", attention_activation="relu2"), tokens(2, 5)
    torch.save(original_state(model, "encoder"), tmp_path / "bare.pt")
    assert '--config, at least {"attention_activation": "softmax"}' in refused(capsys, 2, tmp_path / "bare.pt", tmp_path / "out")
    (tmp_path / "settings.json").write_text('{"attention_activation": "relu2", "max_positions": 32}')
    converted(capsys, tmp_path / "bare.pt", tmp_path / "out", "--config", tmp_path / "settings.json")
    with torch.no_grad():
        ours = MegaModel.from_pretrained(tmp_path / "out")(ids_BL).last_hidden_state
        assert difference(ours, model(ids_BL).last_hidden_state) == 0


def test_a_taken_destination_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = save_original(tmp_path / "a.pt", strong("MegaModel"), "encoder")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert "exists already. Give another folder, or --overwrite" in refused(capsys, 2, source, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["notes.txt"]
    converted(capsys, source, tmp_path / "out", "--overwrite")
    assert set(os.listdir(tmp_path / "out")) == {"config.json", "model.safetensors", "notes.txt"}
    assert set(os.listdir(tmp_path)) == {"a.pt", "out"}


def broken_file(tmp_path: Path) -> Path:
    path = tmp_path / "broken.pt"
    path.write_bytes(b"no checkpoint")
    return path


def another_model(tmp_path: Path) -> Path:
    return save_folder(tmp_path / "bert", {"weight": torch.zeros(2)}, {"model_type": "bert"})


def other_tensors(tmp_path: Path) -> Path:
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "other.pt")
    return tmp_path / "other.pt"


def of_another_shape(tmp_path: Path) -> Path:
    case = named("enc_bi_laplace_rotary")
    return save_folder(tmp_path / "wide", case.state_dict(), {**case.config, "hidden_size": 32})


def text_file(tmp_path: Path) -> Path:
    (tmp_path / "text.pt").write_text("hello")
    return tmp_path / "text.pt"


def test_an_absent_file_of_settings_is_a_mistake_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), str(tmp_path / "out"), "--config", str(tmp_path / "no.json")])
    assert caught.value.code == 2
    assert "there is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "code", "text"),
    [
        (lambda tmp_path: tmp_path / "nothing.pt", 3, "There is no file or folder"),
        (lambda tmp_path: tmp_path, 3, "holds neither config.json"),
        (broken_file, 3, "broken.pt"),
        (text_file, 3, "text.pt is no PyTorch checkpoint: it is neither a zip file nor a pickle"),
        (another_model, 3, "'bert'"),
        (other_tensors, 3, "no Mega model in the original's names"),
        (of_another_shape, 3, "size mismatch"),
    ],
    ids=["nothing", "empty folder", "broken", "text", "another model", "other tensors", "another shape"],
)
def test_what_cannot_be_converted_is_refused_in_one_line(
    make: Any, code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    said = refused(capsys, code, make(tmp_path), tmp_path / "out")
    assert text in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_runs_as_a_module(tmp_path: Path):
    source = save_original(tmp_path / "a.pt", strong("MegaModel"), "encoder")
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "mmkit.models.mega.convert"]
    done = subprocess.run([*command, source, tmp_path / "out"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"Written to {tmp_path / 'out'}.\n")
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "exit codes" in shown
