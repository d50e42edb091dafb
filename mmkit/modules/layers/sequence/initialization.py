"""The weights that a stack of blocks starts with."""

import math

import torch
from torch import nn

from mmkit.modules.layers.sequence.block import Residual
from mmkit.modules.layers.sequence.positions import LearnedPositions


INITIALIZER_RANGE = 0.02  # of BERT, GPT-2 and BART


@torch.no_grad()
def init_sequence_weights(model: nn.Module, initializer_range: float = INITIALIZER_RANGE) -> None:
    """Draw the weights of embeddings and blocks, in place.

    Linear maps, embeddings and learned positions are drawn from N(0, initializer_range²), biases are zero, as in GPT-2 and BART.
    Where norms come first, the last map of every branch is divided by the square root of the number of branches, so that their
    sum keeps its size at any depth (GPT-2, §2.3).

    Args:
        model: A stack; every :class:`Residual` in it counts as one branch.
        initializer_range: Standard deviation. 0.02 is made for widths of 500 and more; ``1/√width`` starts small models faster.
    """
    branches = [module for module in model.modules() if isinstance(module, Residual)]
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding | LearnedPositions):
            nn.init.normal_(module.weight, std=initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for branch in branches:
        if branch.norm_first:
            branch.layer.output.weight.div_(math.sqrt(len(branches)))  # pyright: ignore
