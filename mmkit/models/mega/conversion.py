"""From a checkpoint of the original implementation or of the first Hugging Face port to a folder for ``from_pretrained``."""

import math
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkit.errors import RefusedError, UsageError
from mmkit.models import mega
from mmkit.models.mega import MegaConfig
from mmkit.models.mega.checkpoint_files import Checkpoint, read_checkpoint
from mmkit.models.mega.fairseq_names import BUFFERS, config_from_fairseq, converted_names, fitted_tables, tables_of_the_port


Settings = dict[str, Any]
Tensors = dict[str, Tensor]
ARCHITECTURES = (
    "MegaModel",
    "MegaForCausalLM",
    "MegaForMaskedLM",
    "MegaForSequenceClassification",
    "MegaForTokenClassification",
    "MegaForMultipleChoice",
    "MegaForQuestionAnswering",
)
_BODY = ("layers.", "embedding_layer.", "pooler.")
_KEPT_FILES = ("token", "vocab", "merges", "special_tokens", "generation_config", "spiece", "sentencepiece")


@dataclass
class Report:
    """What became of the tensors; ``text`` says it."""

    architecture: str
    converted: int = 0
    left_out: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def text(self) -> str:
        """One line for each kind, all names in full."""
        lines = [f"{self.architecture}: {self.converted} tensors converted."]
        lines += [f"Left out, no parameters: {', '.join(self.left_out)}."] if self.left_out else []
        lines += [f"Missing, initialised anew: {', '.join(self.missing)}."] if self.missing else []
        lines += [f"Unexpected, without a place in this model: {', '.join(self.unexpected)}."] if self.unexpected else []
        return "\n".join(lines)

    def misfit(self) -> str:
        """Why the model would compute something else than the checkpoint's did, a new head or pooler aside; else empty."""
        of_the_body = sum("layers." in name or "embedding_layer." in name for name in self.missing)
        missing = f"{of_the_body} parameter{'s' * (of_the_body > 1)} of the body {'are' if of_the_body > 1 else 'is'} missing"
        homeless = len(self.unexpected)
        unexpected = f"{homeless} tensor{'s' * (homeless > 1)} {'have' if homeless > 1 else 'has'} no place"
        return " and ".join(text for text, count in ((missing, of_the_body), (unexpected, homeless)) if count)


class MisfitError(RefusedError):
    """The tensors are not those of the model; ``report`` names them."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


@dataclass
class Wanted:
    """What the user says about the checkpoint; ``None`` where the checkpoint is to say it.

    Attributes:
        architecture: One of ``ARCHITECTURES``.
        part: ``"encoder"`` or ``"decoder"`` of an original encoder-decoder.
        settings: Keywords of ``MegaConfig`` that count more than what the checkpoint says.
        partial: Write a model even if tensors are missing or have no place.
    """

    architecture: str | None = None
    part: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    partial: bool = False


def convert(source: Path, destination: Path, wanted: Wanted | None = None, overwrite: bool = False) -> Report:
    """Write the model in ``source`` to the folder ``destination`` as config.json and model.safetensors.

    Raises:
        UsageError: If ``destination`` is taken, or settings are missing, unknown or cannot work.
        RefusedError: If the checkpoint cannot be read without executing it, or (``MisfitError``) does not fit the model.
    """
    wanted = wanted or Wanted()
    if destination.exists() and not overwrite:
        raise UsageError(f"{destination} exists already. Give another folder, or --overwrite to replace the model in it.")
    if destination.is_file():
        raise UsageError(f"{destination} is a file, but the model becomes a folder. Give another name.")
    checkpoint = read_checkpoint(source)
    left_out = [name for name in checkpoint.tensors if name.endswith(BUFFERS)]
    config, state = _original(checkpoint, wanted) if checkpoint.config is None else _hugging_face(checkpoint, wanted)
    model, report = _loaded(_architecture(checkpoint, wanted, state, config), config, state)
    report.left_out = left_out
    if (misfit := report.misfit()) and not wanted.partial:
        raise MisfitError(f"{misfit}; nothing was written. With --partial, what fits is.", report)
    _save(model, source, destination)
    return report


def _original(checkpoint: Checkpoint, wanted: Wanted) -> tuple[Settings, Tensors]:
    """Configuration and renamed tensors of an original checkpoint."""
    tensors = _one_part(checkpoint.tensors, wanted.part)
    try:
        config = config_from_fairseq(checkpoint.arguments, tensors, wanted.part) | wanted.settings
    except ValueError as error:
        raise RefusedError(str(error)) from error
    if "attention_activation" not in config:
        raise UsageError(
            "The checkpoint holds no arguments, and its tensors do not tell the activation of the attention. Give a JSON file "
            'with --config, at least {"attention_activation": "softmax"} (or "laplace", "relu2").'
        )
    state = fitted_tables(converted_names(tensors), config)
    return _with_head(config, state, checkpoint.arguments)


def _one_part(tensors: Tensors, part: str | None) -> Tensors:
    """The tensors of the encoder or the decoder, or all of them if there is only one of the two."""
    of = {name: next((word for word in name.split(".") if word in ("encoder", "decoder")), None) for name in tensors}
    if part is None and {"encoder", "decoder"} <= set(of.values()):
        raise UsageError(
            "The checkpoint holds an encoder and a decoder. Convert one after the other: --part encoder, --part decoder."
        )
    return {name: tensor for name, tensor in tensors.items() if part is None or of[name] in (part, None)}


def _with_head(config: Settings, state: Tensors, arguments: Settings) -> tuple[Settings, Tensors]:
    """Give the head what it lacks in the original: it shares the embeddings or not, and it has no dense layer, maybe no bias."""
    embeddings = state.get("embedding_layer.word_embeddings.weight")
    if embeddings is None:
        return config, state
    head = next((name for name in ("lm_head", "mlm_head") if f"{name}.weight" in state), None)
    if arguments.get("share_decoder_input_output_embed") and config.get("is_decoder") and head is None:
        head, state["lm_head.weight"] = "lm_head", embeddings
    if not arguments.get("no_scale_embedding", True):  # the original multiplies what it looks up
        state["embedding_layer.word_embeddings.weight"] = embeddings * math.sqrt(config["hidden_size"])
    if head is None:
        return config, state
    state.setdefault(f"{head}.bias", torch.zeros(len(embeddings), dtype=embeddings.dtype))
    tied = torch.equal(state["embedding_layer.word_embeddings.weight"], state[f"{head}.weight"])
    return {"add_lm_hidden_dense_layer": False, "tie_word_embeddings": tied} | config, state


def _hugging_face(checkpoint: Checkpoint, wanted: Wanted) -> tuple[Settings, Tensors]:
    config = {**(checkpoint.config or {}), **wanted.settings}
    if config.get("model_type") != "mega":
        raise RefusedError(f"config.json is of the model type {config.get('model_type')!r}; only 'mega' can be converted.")
    state = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.endswith(BUFFERS)}
    by_the_port = str(config.get("transformers_version", "4")).startswith("4.")
    return config, tables_of_the_port(state, config) if by_the_port else state


def _architecture(checkpoint: Checkpoint, wanted: Wanted, state: Tensors, config: Settings) -> str:
    if wanted.architecture is not None:
        return wanted.architecture
    for name in config.get("architectures") or ():
        if name in ARCHITECTURES:
            return name
    heads = {"lm_head.weight": "MegaForCausalLM", "mlm_head.weight": "MegaForMaskedLM"}
    return next((architecture for name, architecture in heads.items() if name in state), "MegaModel")


def _loaded(architecture: str, config: Settings, state: Tensors) -> tuple[Any, Report]:
    """The model with the tensors in it, and what did not go in."""
    try:
        model = getattr(mega, architecture)(MegaConfig.from_dict(config))
    except (ValueError, TypeError) as error:
        raise UsageError(f"These settings make no model: {error}") from error
    kinds = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
    model.to(kinds.pop() if len(kinds) == 1 else torch.float32)
    named = {_name_in(model, name): tensor for name, tensor in state.items()}
    try:
        missing, unexpected = model.load_state_dict(named, strict=False)
    except RuntimeError as error:  # of another shape
        raise RefusedError(" ".join(str(error).split())) from error
    parameters = dict(model.named_parameters(remove_duplicate=False))
    filled = {id(parameters[name]) for name in named if name in parameters}
    missing = [name for name in missing if id(parameters.get(name)) not in filled]  # a tied one is filled under its other name
    return model, Report(architecture, len(named) - len(unexpected), missing=missing, unexpected=list(unexpected))


def _name_in(model: Any, name: str) -> str:
    """The body's names begin with ``mega.`` in a model with a head, and do not in ``MegaModel``; either may be the source."""
    bare = name.removeprefix("mega.")
    if not bare.startswith(_BODY):
        return name
    return bare if isinstance(model, mega.MegaModel) else f"mega.{bare}"


def _save(model: Any, source: Path, destination: Path) -> None:
    """Write beside the destination first, so that a failure leaves no half of a model; the tokenizer's files come along."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}-") as temporary:
        model.save_pretrained(temporary)
        if source.is_dir() and source.resolve() != destination.resolve():
            for file in source.iterdir():
                if file.is_file() and file.name.startswith(_KEPT_FILES):
                    shutil.copy2(file, temporary)
        destination.mkdir(exist_ok=True)
        for file in Path(temporary).iterdir():
            os.replace(file, destination / file.name)
