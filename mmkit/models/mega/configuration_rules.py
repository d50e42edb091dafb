"""What a Mega configuration must satisfy: every broken rule is told in words, all at once."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from mmkit.models.mega.configuration import MegaConfig

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "ema_projection_size",
    "shared_representation_size",
    "nffn_hidden_size",
    "max_positions",
    "type_vocab_size",
)
PROBABILITIES = (
    "dropout_prob",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "nffn_activation_dropout_prob",
    "classifier_dropout",
)
STANDARD_DEVIATIONS = ("initializer_range", "ema_delta_alpha_range", "ema_beta_range", "ema_gamma_omega_range")
SWITCHES = (
    "bidirectional",
    "use_chunking",
    "normalize_before_mega",
    "norm_affine",
    "use_feature_dropout",
    "use_normalized_ffn",
    "normalize_before_ffn",
    "add_token_type_embeddings",
    "use_cache",
    "add_lm_hidden_dense_layer",
    "is_decoder",
    "add_cross_attention",
    "tie_word_embeddings",
)
CHOICES = {
    "normalization_type": ("layernorm", "scalenorm", "rmsnorm", "batchnorm", "syncbatchnorm"),
    "attention_activation": ("softmax", "laplace", "relu2"),
    "relative_positional_bias": ("rotary", "simple"),
}
ACTIVATIONS = ("silu", "relu", "linear", "gelu", "gelu_accurate")


def check_config(config: "MegaConfig") -> None:
    """Refuse a configuration that cannot work.

    Raises:
        ValueError: Naming each setting that was given, what is allowed and what to do.
    """
    mistakes = list(_wrong_values(config)) or list(_contradictions(config))
    if mistakes:
        raise ValueError("This MegaConfig cannot work:\n" + "\n".join(f"- {mistake}" for mistake in mistakes))


def _wrong_values(config: "MegaConfig") -> Iterator[str]:
    """Settings that are wrong by themselves."""
    for name in SIZES:
        if not _is_count(getattr(config, name)):
            yield f"{name}={getattr(config, name)!r}: give a whole number of at least 1."
    if config.truncation is not None and not _is_count(config.truncation):
        yield f"truncation={config.truncation!r}: give the kernel length as a whole number of at least 1, or None for all of it."
    if not isinstance(config.chunk_size, int) or isinstance(config.chunk_size, bool):
        yield f"chunk_size={config.chunk_size!r}: give a whole number."
    for name in PROBABILITIES:
        value = getattr(config, name)
        if not ((_is_number(value) and 0 <= value <= 1) or (name == "classifier_dropout" and value is None)):
            yield f"{name}={value!r}: give a probability between 0 and 1."
    for name in STANDARD_DEVIATIONS:
        value = getattr(config, name)
        if not (_is_number(value) and 0 <= value < float("inf")):
            yield f"{name}={value!r}: give a standard deviation, 0 or larger."
    for name in SWITCHES:
        if not isinstance(getattr(config, name), bool):
            yield f"{name}={getattr(config, name)!r}: give True or False."
    yield from _unknown_names(config)


def _unknown_names(config: "MegaConfig") -> Iterator[str]:
    from transformers.activations import ACT2FN

    for name, allowed in CHOICES.items():
        if getattr(config, name) not in allowed:
            yield f"{name}={getattr(config, name)!r} is unknown. Known: {', '.join(allowed)}."
    if config.activation not in ACT2FN:
        yield f"activation={config.activation!r} is unknown. Known: {', '.join(ACTIVATIONS)}, and transformers' other names."


def _contradictions(config: "MegaConfig") -> Iterator[str]:
    """Settings that do not fit each other."""
    if config.is_decoder and config.bidirectional:
        yield "is_decoder=True with bidirectional=True: a decoder must not see the future. Add bidirectional=False."
    if config.add_cross_attention and not config.is_decoder:
        yield "add_cross_attention=True needs a decoder. Add is_decoder=True and bidirectional=False."
    if config.use_chunking and config.chunk_size < 1:
        yield f"use_chunking=True with chunk_size={config.chunk_size}: give a chunk_size of at least 1, or use_chunking=False."
    if config.relative_positional_bias == "simple" and config.use_chunking and config.chunk_size > config.max_positions:
        yield (
            f"chunk_size={config.chunk_size} is beyond max_positions={config.max_positions}, where the simple bias ends. "
            f'Raise max_positions, shorten the chunks, or take relative_positional_bias="rotary".'
        )
    if config.relative_positional_bias == "rotary" and config.shared_representation_size % 2:
        yield (
            f"shared_representation_size={config.shared_representation_size} is odd: the rotary bias turns pairs. "
            f'Give an even number, or take relative_positional_bias="simple".'
        )
    if config.pad_token_id is not None and not 0 <= config.pad_token_id < config.vocab_size:
        yield (
            f"pad_token_id={config.pad_token_id} is outside the vocabulary (vocab_size={config.vocab_size}). "
            f"Give a token below {config.vocab_size}, or None."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
