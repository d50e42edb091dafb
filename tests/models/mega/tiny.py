"""Tiny Mega models with weights of order one: as they are initialised, attention hardly matters, and a wrong one goes unseen."""

from typing import Any

import torch
from torch import Tensor, nn

from mmkit.models import mega
from mmkit.models.mega import MegaConfig


SIZES = {
    "vocab_size": 23,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "intermediate_size": 12,
    "nffn_hidden_size": 10,
    "shared_representation_size": 4,
    "ema_projection_size": 3,
    "max_positions": 32,
    "num_labels": 3,
}
DECODER = {"is_decoder": True, "bidirectional": False}


def tiny(model_class: str = "MegaModel", seed: int = 0, **config: Any) -> Any:
    """A model in fp64 and evaluation mode, so that only what is wrong differs by more than 1e-9."""
    model = getattr(mega, model_class)(MegaConfig(**{**SIZES, **config})).double().eval()
    strengthen(model, seed)
    return model


def strengthen(model: nn.Module, seed: int = 0) -> None:
    """Draw all parameters anew: vectors around their mean, matrices so that they keep the scale of their input."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            width = parameter.shape[-1] if parameter.dim() == 2 and "weight" in name and "qk" not in name else 1
            parameter.copy_(drawn / width**0.5 + (1.0 if name.endswith(("norm.scalar", "norm.weight")) else 0.0))


def tokens(batch: int, length: int, seed: int = 1) -> Tensor:
    """Random ids (B, L), none of them the padding's, 1."""
    return torch.randint(2, SIZES["vocab_size"], (batch, length), generator=torch.Generator().manual_seed(seed))


def features(batch: int, length: int, width: int = SIZES["hidden_size"], seed: int = 2) -> Tensor:
    """Random numbers (B, L, D) in fp64."""
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
