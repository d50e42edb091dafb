"""Greedy decoding and sampling."""

import torch
from torch import Tensor

from mmkit.models.encoder_decoder.generation.sampling import Choice
from mmkit.models.encoder_decoder.generation.steps import DecoderSteps


# Shapes: N rows, T tokens.


def token_by_token(steps: DecoderSteps, choice: Choice, bos_id: int, eos_id: int | None, pad_id: int, max_length: int) -> Tensor:
    """Choose a token after the other until every row has ended.

    Args:
        steps: The decoder.
        choice: Chooses the tokens of a step by their logits.
        bos_id: Token that every row begins with; not returned.
        eos_id: Token that ends a row; None: rows end at ``max_length`` only.
        pad_id: Token behind the end.
        max_length: Longest row in tokens, the last one included.

    Returns:
        Tokens (N, T), T the length of the longest row.
    """
    num_rows, device = len(steps.memory_NSZ), steps.memory_NSZ.device
    token_N = torch.full((num_rows,), bos_id, device=device)
    ended_N = torch.zeros(num_rows, dtype=torch.bool, device=device)
    tokens = []
    for step in range(max_length):
        token_N = torch.where(ended_N, pad_id, choice(steps(token_N), step))
        tokens.append(token_N)
        if eos_id is not None:
            ended_N |= token_N == eos_id
            if ended_N.all():
                break
    return torch.stack(tokens, dim=1)
