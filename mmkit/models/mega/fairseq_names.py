"""What the original implementation (fairseq) calls the parameters and settings of Mega, and what they are called here.

The original runs time-major, (L, B, D), and its ``padding_mask`` is True at padding; here everything is batch-first, (B, L, D),
and ``attention_mask`` is 1 at real tokens: ``attention_mask = ~padding_mask``. Parameters need no change but their names.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor


# End of the original's name → end of ours. "beta" and "gamma" were taken: transformers once renamed them on loading.
RENAMED = {
    "move.delta": "ema_gate.damping_factor",
    "move.alpha": "ema_gate.decay_factor",
    "move.beta": "ema_gate.ema_expansion_matrix",
    "move.gamma": "ema_gate.kernel_projection_matrix",
    "move.omega": "ema_gate.residual_weight",
    "mega_layer.gamma": "mega_layer.qk_weight",
    "mega_layer.beta": "mega_layer.qk_bias",
    "rel_pos_bias.beta": "rel_pos_bias.b_param",
}
SETTINGS = {
    "dropout": "dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "hidden_dropout": "hidden_dropout_prob",
    "activation_dropout": "nffn_activation_dropout_prob",
    "attention_activation_fn": "attention_activation",
    "truncation_length": "truncation",
    "normalization_type": "normalization_type",
    "feature_dropout": "use_feature_dropout",
}
ACTIVATIONS = {"gelu_accurate": "gelu_new", "gelu_fast": "gelu_new"}  # both are the tanh approximation in fairseq
_LAYER = re.compile(r"(?:.*\.)?(?:layers|encoders)\.(\d+\.(?:mega_layer|cross_attn|nffn)\..+)")
_EMBEDDING = re.compile(r"(?:.*\.)?(?:embed_tokens|embedding_layer)\.weight")
_HEADS = (
    (re.compile(r"(?:.*\.)?(mlm_head\.(?:weight|bias))"), "{}"),
    (re.compile(r"(?:.*\.)?output_projection\.(weight|bias)"), "lm_head.{}"),
)
BUFFERS = ("_float_tensor", "version")  # buffers that hold no parameter
_TABLE = "rel_pos_bias.rel_pos_bias"


def converted_name(name: str) -> str | None:
    """Our name of a parameter, as in ``MegaModel``; ``None`` for a buffer that holds nothing, the name itself if it is unknown.

    Example:
        >>> converted_name("encoder.layers.3.mega_layer.move.delta")
        'layers.3.mega_layer.ema_gate.damping_factor'
    """
    if name.endswith(BUFFERS):
        return None
    if layer := _LAYER.fullmatch(name):
        end = layer[1]
        for theirs, ours in RENAMED.items():
            if end.endswith(f".{theirs}"):
                end = end.removesuffix(theirs) + ours
                break
        return f"layers.{end}"
    if _EMBEDDING.fullmatch(name):
        return "embedding_layer.word_embeddings.weight"
    for pattern, ours in _HEADS:
        if head := pattern.fullmatch(name):
            return ours.format(head[1])
    return name


def converted_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an original state dict under our names."""
    return {ours: tensor for name, tensor in state.items() if (ours := converted_name(name)) is not None}


def fitted_tables(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """A converted state dict whose tables of relative positions have the length that the configuration asks for.

    The original may have one greatest length for the source and one for the target; we have one ``max_positions``. A shorter
    table grows zeros on both sides, for distances that it never had. The table of chunked attention stays that of a chunk.
    """
    length = 2 * config["max_positions"] - 1
    fitted = dict(state)
    for name in [name for name in state if name.endswith(_TABLE)]:
        if not (config["use_chunking"] and name.endswith(f"mega_layer.{_TABLE}")):
            missing = length - len(state[name])
            fitted[name] = F.pad(state[name], (missing // 2, missing // 2))
    return fitted


def tables_of_the_port(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict of a model of the first port whose tables of relative positions are read as the port read them.

    The port made its tables for ``max_positions``, but as soon as ``chunk_size`` was set, it read their beginning only, as if
    they were those of a chunk. So the beginning is what was trained, and what we put where it belongs.
    """
    chunk_size = config.get("chunk_size", -1)
    if chunk_size < 1:
        return dict(state)
    read = {name: tensor[: 2 * chunk_size - 1] if name.endswith(_TABLE) else tensor for name, tensor in state.items()}
    return fitted_tables(read, {"max_positions": 2048, "use_chunking": False, **config})


def config_from_fairseq(arguments: Mapping[str, Any], state: Mapping[str, Tensor], part: str | None = None) -> dict[str, Any]:
    """Keywords of ``MegaConfig`` for an original model: sizes are read from the tensors, the rest from its arguments.

    Args:
        arguments: The model's arguments, e.g. ``vars(checkpoint["args"])``.
        state: Its tensors, under the original's names, those of one encoder or one decoder.
        part: ``"encoder"`` or ``"decoder"``, whose arguments count; by default what the tensors and arguments say.
    """
    part = part or ("decoder" if _is_decoder(arguments, state) else "encoder")
    config = {ours: arguments[theirs] for theirs, ours in SETTINGS.items() if theirs in arguments}
    if "activation_fn" in arguments:
        config["activation"] = ACTIVATIONS.get(arguments["activation_fn"], arguments["activation_fn"])
    if "normalize_before" in arguments:
        config |= {"normalize_before_mega": arguments["normalize_before"], "normalize_before_ffn": arguments["normalize_before"]}
    chunk_size = arguments.get(f"{part}_chunk_size", -1)
    config |= {"use_chunking": chunk_size > 0, "chunk_size": chunk_size if chunk_size > 0 else -1}
    config |= _sizes(state) | _kinds(state, arguments)
    config["max_positions"] = _max_positions(arguments, state, part, chunk_size)
    if part == "decoder":
        config |= {"is_decoder": True, "bidirectional": False}
    return config | {"add_cross_attention": any(".cross_attn." in name for name in state)}


def _is_decoder(arguments: Mapping[str, Any], state: Iterable[str]) -> bool:
    if any(".cross_attn." in name or name.startswith("decoder.") or ".decoder." in name for name in state):
        return True
    return "decoder_embed_dim" in arguments and "encoder_embed_dim" not in arguments


def _first(state: Mapping[str, Tensor], end: str) -> Tensor:
    for name, tensor in state.items():
        if name.endswith(end):
            return tensor
    raise ValueError(f"No name of the {len(state)} tensors ends with {end!r}: this is no Mega model in the original's names.")


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the shapes say; ``move.alpha`` is (K, N, 1), K is D, or 2 D if the EMA runs both ways."""
    hidden_size = len(_first(state, "mega_layer.move.omega"))
    channels, ema_size, _ = _first(state, "mega_layer.move.alpha").shape
    sizes = {
        "hidden_size": hidden_size,
        "ema_projection_size": ema_size,
        "bidirectional": channels == 2 * hidden_size,
        "shared_representation_size": _first(state, "mega_layer.gamma").shape[1],
        "intermediate_size": len(_first(state, "mega_layer.v_proj.weight")),
        "num_hidden_layers": len({layer[1].partition(".")[0] for name in state if (layer := _LAYER.fullmatch(name))}),
        "use_normalized_ffn": any(".nffn." in name for name in state),
    }
    if sizes["use_normalized_ffn"]:
        sizes["nffn_hidden_size"] = len(_first(state, "nffn.fc1.weight"))
    embeddings = [tensor for name, tensor in state.items() if _EMBEDDING.fullmatch(name)]
    return sizes | ({"vocab_size": len(embeddings[0])} if embeddings else {})


def _kinds(state: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The kinds of norm and of relative bias, as the names tell."""
    norms = {name.rpartition(".")[2] for name in state if ".mega_layer.norm." in name}
    kinds: dict[str, Any] = {"norm_affine": bool(norms & {"weight", "scalar"})}
    if "normalization_type" not in arguments and kinds["norm_affine"]:
        batch = "running_mean" in norms
        kinds["normalization_type"] = (
            "scalenorm" if "scalar" in norms else "batchnorm" if batch else "layernorm" if "bias" in norms else "rmsnorm"
        )
    simple = any(name.endswith(_TABLE) for name in state)
    return kinds | {"relative_positional_bias": "simple" if simple else "rotary"}


def _max_positions(arguments: Mapping[str, Any], state: Mapping[str, Tensor], part: str, chunk_size: int) -> int:
    of_all_positions = chunk_size <= 0 or any(name.endswith(f"cross_attn.{_TABLE}") for name in state)
    if of_all_positions and (longest := _longest_table(state)):
        return (longest + 1) // 2
    return arguments.get("max_source_positions" if part == "encoder" else "max_target_positions") or 2048


def _longest_table(state: Mapping[str, Tensor]) -> int:
    return max((len(tensor) for name, tensor in state.items() if name.endswith(_TABLE)), default=0)
