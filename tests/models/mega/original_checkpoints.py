"""Checkpoints as the original implementation and the first Hugging Face port wrote them, made of our models; and the command."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmkit.models import mega
from mmkit.models.mega import MegaConfig
from mmkit.models.mega.convert import main
from mmkit.models.mega.fairseq_names import RENAMED
from tests.models.mega.tiny import SIZES, strengthen


ARGUMENTS = {
    "activation_fn": "silu",
    "attention_activation_fn": "softmax",
    "rel_pos_bias": "rotary",
    "normalization_type": "scalenorm",
    "normalize_before": True,
    "dropout": 0.2,
    "max_source_positions": 32,
    "max_target_positions": 32,
    "encoder_chunk_size": -1,
    "decoder_chunk_size": -1,
}


def original_name(name: str, body: str) -> str:
    """What the original calls a parameter of ours; ``body`` stands for the layers' prefix, e.g. ``encoder``."""
    name = name.removeprefix("mega.")
    for theirs, ours in RENAMED.items():
        if name.endswith(ours):
            name = name.removesuffix(ours) + theirs
    return f"{body}.{name.replace('embedding_layer.word_embeddings', 'embed_tokens').replace('lm_head', 'output_projection')}"


def original_state(model: Any, body: str) -> dict[str, Tensor]:
    """The weights of our model as the original names them."""
    state = model.state_dict()
    return {
        original_name(name, body): tensor for name, tensor in state.items() if not name.startswith(("pooler", "lm_head.bias"))
    }


def strong(model_class: str, **config: Any) -> Any:
    model = getattr(mega, model_class)(MegaConfig(**{**SIZES, **config})).eval()
    strengthen(model)
    return model


def save_original(path: Path, model: Any, body: str, **arguments: Any) -> Path:
    """A fairseq checkpoint of our model's weights; the original has no pooler, and no bias in its head."""
    state = original_state(model, body)
    state[f"{body}.layers.0.mega_layer.rel_pos_bias._float_tensor"] = torch.zeros(1)
    settings = argparse.Namespace(**{**ARGUMENTS, **arguments})
    torch.save({"args": settings, "model": state, "extra_state": {"epoch": 3}, "optimizer_history": [{"num_updates": 7}]}, path)
    return path


def save_folder(path: Path, state: dict[str, Tensor], config: dict[str, Any]) -> Path:
    """A folder as the port's ``save_pretrained`` writes it."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "mega", "transformers_version": "4.44.2", **config}))
    torch.save(state, path / "pytorch_model.bin")
    return path


def converted(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run the command, which must succeed; what it said."""
    assert main([str(argument) for argument in argv]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], code: int, *argv: object) -> str:
    """Run the command, which must refuse; its one line."""
    assert main([str(argument) for argument in argv]) == code
    return capsys.readouterr().err
