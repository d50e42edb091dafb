"""From hidden states to a score for each token of the vocabulary."""

import torch
from torch import Tensor, nn

from mmkit.models.mega.configuration import MegaConfig


def hidden_dense(config: MegaConfig) -> nn.Linear | None:
    """The dense layer before the scores, where the configuration asks for one."""
    return nn.Linear(config.hidden_size, config.hidden_size) if config.add_lm_hidden_dense_layer else None


def vocabulary_scores(hidden: Tensor, dense: nn.Linear | None, output: nn.Module) -> Tensor:
    """``output(tanh(dense(hidden)))``, or without ``dense`` just ``output(hidden)``."""
    return output(hidden if dense is None else torch.tanh(dense(hidden)))
