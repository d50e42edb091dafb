"""What conversion makes of checkpoints of the original implementation and of the first Hugging Face port."""

import argparse
import os
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from mmkit.models import mega
from mmkit.models.mega import MegaConfig, MegaForCausalLM, MegaForMaskedLM, MegaModel
from mmkit.models.mega.fairseq_names import converted_name
from tests.models.mega.original_checkpoints import (
    ARGUMENTS,
    converted,
    original_name,
    save_folder,
    save_original,
    strong,
)
from tests.models.mega.reference_cases import FP32, Case, cases, difference, flat_outputs
from tests.models.mega.tiny import DECODER, SIZES, tokens


def test_every_original_name_has_one_of_ours():
    for case in cases("original"):
        names = {name: converted_name(f"encoder.layers.0.{name}") for name in case.state_dict()}
        ours = set(MegaModel(MegaConfig(add_cross_attention=True, **DECODER)).state_dict())
        simple = {"layers.0.mega_layer.rel_pos_bias.rel_pos_bias", "layers.0.cross_attn.rel_pos_bias.rel_pos_bias"}
        unknown = {name for name in names.values() if name and ".norm.norm." not in name} - ours - simple
        assert not unknown
        assert [name for name, converted in names.items() if converted is None] == [n for n in names if "_float_tensor" in n]


def test_an_original_encoder_comes_out_with_equal_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model, ids_BL = strong("MegaModel"), tokens(2, 9)
    source = save_original(tmp_path / "checkpoint_best.pt", model, "encoder")
    said = converted(capsys, source, tmp_path / "out")
    assert "Missing, initialised anew: pooler.dense.weight, pooler.dense.bias." in said
    assert "Left out, no parameters: encoder.layers.0.mega_layer.rel_pos_bias._float_tensor." in said
    assert set(os.listdir(tmp_path / "out")) == {"config.json", "model.safetensors"}
    loaded = MegaModel.from_pretrained(tmp_path / "out")
    assert loaded.config.dropout_prob == 0.2
    assert loaded.config.hidden_size == 8
    mask_BL = torch.tensor([[1] * 9, [1] * 6 + [0] * 3])
    with torch.no_grad():
        ours, theirs = loaded(ids_BL, attention_mask=mask_BL), model(ids_BL, attention_mask=mask_BL)
    assert difference(ours.last_hidden_state, theirs.last_hidden_state) == 0


@pytest.mark.parametrize("bias", ["rotary", "simple"])
@pytest.mark.parametrize("chunk_size", [-1, 4])
def test_an_original_decoder_comes_out_with_equal_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bias: str, chunk_size: int
):
    chunking = {"use_chunking": True, "chunk_size": chunk_size} if chunk_size > 0 else {}
    model = strong(
        "MegaForCausalLM",
        add_lm_hidden_dense_layer=False,
        attention_activation="laplace",
        relative_positional_bias=bias,
        **DECODER,
        **chunking,
    )
    with torch.no_grad():
        model.lm_head.bias.zero_()
    source = save_original(
        tmp_path / "lm.pt",
        model,
        "decoder",
        attention_activation_fn="laplace",
        rel_pos_bias=bias,
        decoder_chunk_size=chunk_size,
    )
    said = converted(capsys, source, tmp_path / "out")
    assert "Missing" not in said
    loaded, ids_BL = MegaForCausalLM.from_pretrained(tmp_path / "out"), tokens(2, 9)
    assert loaded.config.tie_word_embeddings
    with torch.no_grad():
        assert difference(loaded(ids_BL).logits, model(ids_BL).logits) == 0


def test_original_layers_of_the_reference_come_out_with_their_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for case in cases("original"):
        prefix = "decoder" if case.name.startswith("orig_dec") else "encoder"
        state = {f"{prefix}.layers.0.{name}": tensor for name, tensor in case.state_dict().items()}
        state[f"{prefix}.embed_tokens.weight"] = torch.zeros(5, 16)
        torch.save({"cfg": {"model": argparse.Namespace(**case.config)}, "args": None, "model": state}, tmp_path / "one.pt")
        converted(capsys, tmp_path / "one.pt", tmp_path / case.name)
        model, inputs = MegaModel.from_pretrained(tmp_path / case.name), case.inputs()
        call = {"inputs_embeds": inputs["x"].transpose(0, 1)}
        if prefix == "decoder":
            call["encoder_hidden_states"] = inputs["encoder_out"].transpose(0, 1)
            call["encoder_attention_mask"] = ~inputs["encoder_padding_mask"]
        with torch.no_grad():
            y_BLD = model(**call).last_hidden_state
        assert difference(y_BLD, case.tensors("out/")["y"].transpose(0, 1)) <= FP32, case.name


def test_the_folder_that_the_port_was_converted_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model, ids_BL = strong("MegaForMaskedLM", add_lm_hidden_dense_layer=False, tie_word_embeddings=False), tokens(2, 9)
    folder = tmp_path / "mega-wikitext"
    folder.mkdir()
    body = {original_name(name, "encoders").replace(".layers.", "."): t for name, t in model.mega.state_dict().items()}
    body = {name.replace("encoders.embed_tokens", "embedding_layer"): tensor for name, tensor in body.items()}
    torch.save(body, folder / "encoder_weights.pt")
    torch.save(model.mlm_head.state_dict(), folder / "mlm_head_weights.pt")
    settings = {"mega_args": argparse.Namespace(**ARGUMENTS), "depth": 2, "vocab_size": 23}
    (folder / "model_args.pkl").write_bytes(pickle.dumps(settings))
    (folder / "tokenizer.json").write_text("{}")
    converted(capsys, folder, tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    with torch.no_grad():
        assert difference(MegaForMaskedLM.from_pretrained(tmp_path / "out")(ids_BL).logits, model(ids_BL).logits) == 0


PORT_CASES = [case for case in cases("hf") if case.name.startswith(("enc_bi", "dec_", "cross_", "norm_", "head_", "token_types"))]


@pytest.mark.parametrize("case", PORT_CASES[::3], ids=[case.name for case in PORT_CASES[::3]])
def test_a_folder_of_the_port_comes_out_with_equal_outputs(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = save_folder(tmp_path / "port", case.state_dict(), {**case.config, "architectures": [case.model_class]})
    said = converted(capsys, source, tmp_path / "out")
    assert said.startswith(f"{case.model_class}: ")
    assert "Missing" not in said
    model = getattr(mega, case.model_class).from_pretrained(tmp_path / "out")
    with torch.no_grad():
        ours = flat_outputs(model(**case.inputs(), **case.call))
    assert max(difference(ours[name], expected) for name, expected in case.tensors("out/").items()) <= FP32


def test_a_simple_table_that_the_port_read_as_a_chunk_s_is_read_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    chunked = strong("MegaModel", relative_positional_bias="simple", use_chunking=True, chunk_size=4)
    state, ids_BL = chunked.state_dict(), tokens(2, 9)
    port = {name: F.pad(t, (0, 56), value=9.0) if name.endswith("rel_pos_bias.rel_pos_bias") else t for name, t in state.items()}
    config = {**SIZES, "relative_positional_bias": "simple", "use_chunking": True, "chunk_size": 4}
    converted(capsys, save_folder(tmp_path / "port", port, config), tmp_path / "out")
    with torch.no_grad():
        ours = MegaModel.from_pretrained(tmp_path / "out")(ids_BL).last_hidden_state
        assert difference(ours, chunked(ids_BL).last_hidden_state) == 0


def test_what_this_package_saved_is_converted_to_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = strong("MegaForCausalLM", **DECODER)
    model.save_pretrained(tmp_path / "ours")
    assert "Missing" not in converted(capsys, tmp_path / "ours", tmp_path / "out")
    before, after = (load_file(tmp_path / folder / "model.safetensors") for folder in ("ours", "out"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_half_precision_stays_half_precision(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    converted(capsys, save_original(tmp_path / "half.pt", strong("MegaModel").half(), "encoder"), tmp_path / "out")
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.float16}


def test_embeddings_that_the_original_scales_are_scaled(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model, ids_BL = strong("MegaModel"), tokens(2, 5)
    source = save_original(tmp_path / "scaled.pt", model, "encoder", no_scale_embedding=False)
    converted(capsys, source, tmp_path / "out")
    embedded_BLD = model.get_input_embeddings()(ids_BL) * 8**0.5
    with torch.no_grad():
        ours, expected = MegaModel.from_pretrained(tmp_path / "out")(ids_BL), model(inputs_embeds=embedded_BLD)
    assert difference(ours.last_hidden_state, expected.last_hidden_state) <= 1e-5
