"""What a Mega configuration takes, keeps and refuses."""

import json

import pytest

from mmkit.conf.reading.signatures import read_signature
from mmkit.models.mega import MegaConfig, MegaModel


PORT_DEFAULTS = {
    "vocab_size": 30522,
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "intermediate_size": 256,
    "ema_projection_size": 16,
    "bidirectional": True,
    "shared_representation_size": 64,
    "use_chunking": False,
    "chunk_size": -1,
    "truncation": None,
    "normalize_before_mega": True,
    "normalization_type": "scalenorm",
    "norm_affine": True,
    "activation": "silu",
    "attention_activation": "softmax",
    "dropout_prob": 0.1,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "use_feature_dropout": False,
    "use_normalized_ffn": True,
    "nffn_hidden_size": 256,
    "normalize_before_ffn": True,
    "nffn_activation_dropout_prob": 0.1,
    "max_positions": 2048,
    "add_token_type_embeddings": False,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "ema_delta_alpha_range": 0.2,
    "ema_beta_range": 0.02,
    "ema_gamma_omega_range": 1.0,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "relative_positional_bias": "rotary",
    "classifier_dropout": None,
    "use_cache": True,
    "add_lm_hidden_dense_layer": True,
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}

# Of a checkpoint that the Hugging Face port saved.
SAVED_BY_THE_PORT = {
    "_name_or_path": "mega-wikitext",
    "architectures": ["MegaForMaskedLM"],
    "attention_activation": "laplace",
    "chunk_size": 2048,
    "hidden_size": 64,
    "model_type": "mega",
    "num_attention_heads": 1,
    "relative_positional_bias": "simple",
    "torch_dtype": "float32",
    "transformers_version": "4.26.0",
    "use_chunking": False,
    "a_key_of_tomorrow": 3,
}


def test_defaults_are_those_of_the_port():
    config = MegaConfig()
    assert {name: getattr(config, name) for name in PORT_DEFAULTS} == PORT_DEFAULTS


def test_signature_is_read_from_source_with_all_fields():
    parameters = read_signature("mmkit.models.mega.configuration.MegaConfig").parameters
    assert {each.name: each.default for each in parameters if each.name in PORT_DEFAULTS} == PORT_DEFAULTS


def test_a_configuration_saved_by_the_port_loads_and_saves_again(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SAVED_BY_THE_PORT))
    config = MegaConfig.from_pretrained(tmp_path)
    config.save_pretrained(tmp_path / "again")
    again = MegaConfig.from_pretrained(tmp_path / "again")
    for loaded in (config, again):
        assert (loaded.hidden_size, loaded.attention_activation, loaded.vocab_size) == (64, "laplace", 30522)
        assert loaded.a_key_of_tomorrow == 3


def test_settings_survive_saving(tmp_path):
    config = MegaConfig(is_decoder=True, bidirectional=False, use_chunking=True, chunk_size=8, truncation=5, num_labels=7)
    config.save_pretrained(tmp_path)
    assert MegaConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_configurations_with_different_settings_are_different():
    assert MegaConfig() == MegaConfig()
    assert MegaConfig() != MegaConfig(hidden_size=64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"is_decoder": True}, "Add bidirectional=False"),
        ({"add_cross_attention": True}, "Add is_decoder=True and bidirectional=False"),
        ({"use_chunking": True}, "chunk_size of at least 1"),
        ({"use_chunking": True, "chunk_size": 0}, "chunk_size=0"),
        (
            {"use_chunking": True, "chunk_size": 64, "max_positions": 32, "relative_positional_bias": "simple"},
            "chunk_size=64 is beyond max_positions=32",
        ),
        ({"shared_representation_size": 7}, "shared_representation_size=7 is odd"),
        ({"normalization_type": "batch"}, "'batch' is unknown. Known: layernorm, scalenorm"),
        ({"activation": "swosh"}, "'swosh' is unknown. Known: silu, relu"),
        ({"attention_activation": "relu"}, "'relu' is unknown. Known: softmax, laplace, relu2"),
        ({"relative_positional_bias": "alibi"}, "'alibi' is unknown. Known: rotary, simple"),
        ({"dropout_prob": 1.5}, "dropout_prob=1.5: give a probability"),
        ({"classifier_dropout": -0.1}, "classifier_dropout=-0.1: give a probability"),
        ({"hidden_size": 0}, "hidden_size=0: give a whole number of at least 1"),
        ({"intermediate_size": "256"}, "intermediate_size='256': give a whole number"),
        ({"truncation": 0}, "truncation=0: give the kernel length"),
        ({"chunk_size": None}, "chunk_size=None: give a whole number"),
        ({"initializer_range": -1.0}, "initializer_range=-1.0: give a standard deviation"),
        ({"bidirectional": "no"}, "bidirectional='no': give True or False"),
        ({"vocab_size": 1}, "pad_token_id=1 is outside the vocabulary"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_refused_in_words(settings, message):
    with pytest.raises(ValueError, match=message):
        MegaConfig(**settings)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ValueError, match=r"(?s)dropout_prob=2.*normalization_type='x'"):
        MegaConfig(dropout_prob=2, normalization_type="x")


@pytest.mark.parametrize(
    "settings",
    [
        {"shared_representation_size": 7, "relative_positional_bias": "simple"},
        {"use_chunking": True, "chunk_size": 4096},
        {"chunk_size": 4096, "relative_positional_bias": "simple"},
        {"pad_token_id": None, "eos_token_id": [2, 3], "dropout_prob": 0},
        {"activation": "tanh"},
    ],
    ids=["odd width with the simple bias", "long chunks with the rotary bias", "chunk size without chunks", "none", "tanh"],
)
def test_what_can_work_is_taken(settings):
    config = MegaConfig(**settings)
    assert {name: getattr(config, name) for name in settings} == settings


def test_a_model_refuses_a_configuration_that_was_broken_later():
    config = MegaConfig(num_hidden_layers=1)
    config.is_decoder = True
    with pytest.raises(ValueError, match="Add bidirectional=False"):
        MegaModel(config)
