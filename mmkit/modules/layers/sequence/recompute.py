"""Blocks whose activations are computed again in the backward pass."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, gradient_checkpointing: bool, *arguments: Any) -> Tensor:
    """Call a block; with ``gradient_checkpointing`` in training, keep only its input for the way back.

    Dropout drops the same units the second time.
    """
    if gradient_checkpointing and block.training and torch.is_grad_enabled():
        return checkpoint(block, *arguments, use_reentrant=False)  # pyright: ignore[reportReturnType]
    return block(*arguments)
