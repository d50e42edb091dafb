"""How a transformer tells positions apart: learned embeddings, rotary, ALiBi."""

import math

import torch
from torch import Tensor, nn


# Shapes: B batch, T positions, C columns so far (the T among them), S keys, D width, H heads, K dim of a head.

POSITIONS = ("learned", "rotary", "alibi", "none")
ROTARY_BASE = 10_000.0


def leading_pads(mask_BC: Tensor) -> Tensor:
    """Number of padded columns before the first real one of each row, C in a row of pads.

    Example:
        >>> leading_pads(torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]]))
        tensor([2, 0])
    """
    return (mask_BC.cumsum(1) == 0).sum(1)


def token_positions(num_new: int, num_past: int, device: torch.device, mask_BC: Tensor | None = None) -> Tensor:
    """Positions of the last ``num_new`` columns, (B or 1, T), counted from the first real column of each row.

    Args:
        num_new: ``T``.
        num_past: Columns before them.
        device: Where the result is.
        mask_BC: Nonzero where a column is real, of all columns; None if all are. Padding in front has position 0.

    Example:
        >>> token_positions(3, 0, torch.device("cpu"), torch.tensor([[0, 1, 1]]))
        tensor([[0, 0, 1]])
    """
    column_1T = torch.arange(num_past, num_past + num_new, device=device).unsqueeze(0)
    return column_1T if mask_BC is None else (column_1T - leading_pads(mask_BC).unsqueeze(1)).clamp(min=0)


class LearnedPositions(nn.Module):
    """Add a learned vector for every position, as BERT and GPT-2 do.

    Args:
        max_positions: Longest sequence.
        dim: Width D.
    """

    def __init__(self, max_positions: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(max_positions, dim))

    def no_weight_decay(self) -> set[str]:
        """Positions are not decayed, as in timm's transformers."""
        return {"weight"}

    def forward(self, x_BTD: Tensor, mask_BC: Tensor | None = None, num_past: int = 0) -> Tensor:
        """Add positions, counted from the first real column, so that padding in front changes nothing.

        Args:
            x_BTD: The last T columns.
            mask_BC: Nonzero where a column is real, of all columns; None if all are.
            num_past: Columns before them.

        Raises:
            ValueError: There are more columns than ``max_positions``.
        """
        num_new = x_BTD.shape[1]
        if num_past + num_new > len(self.weight):
            raise ValueError(
                f"A sequence of {num_past + num_new} positions is longer than max_positions={len(self.weight)}. Raise it, let "
                "the tokenizer cut (max_length), or take position_embedding=rotary or alibi, which have no limit."
            )
        if mask_BC is None:
            return x_BTD + self.weight[num_past : num_past + num_new]
        return x_BTD + self.weight[token_positions(num_new, num_past, x_BTD.device, mask_BC)]


def rotation(num_new: int, num_past: int, head_dim: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """What :func:`rotate` multiplies with: cosine and signed sine (T, K) of the angles of every position.

    The angles are ``position · base^(-2i/K)`` (https://arxiv.org/abs/2104.09864, eq. 15) for the pair ``(x[i], x[i + K/2])``, the
    pairing of GPT-NeoX and LLaMA. Positions are columns: what attention sees of them are differences, which padding in front
    does not change.

    Args:
        num_new: ``T``.
        num_past: Columns before them.
        head_dim: ``K``.
        like: Says the device; the result has at least single precision.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    position_T = torch.arange(num_past, num_past + num_new, device=like.device, dtype=dtype)
    exponent = torch.arange(0, head_dim, 2, device=like.device, dtype=dtype) / head_dim
    angle = position_T[:, None] * ROTARY_BASE**-exponent
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def rotate(x_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Rotate every pair ``(x[i], x[i + K/2])`` of a head's query or key by its angle: ``x · cos + swapped(x) · sin``."""
    first, second = x_BHTK.chunk(2, dim=-1)
    return torch.addcmul(x_BHTK * cos_TK, torch.cat([second, first], dim=-1), sin_TK).to(x_BHTK.dtype)


def alibi_slopes(num_heads: int, device: torch.device | None = None) -> Tensor:
    """Slope of every head (https://arxiv.org/abs/2108.12409, §3 and the authors' code).

    For n heads, a power of two: ``2^(-8/n), 2^(-16/n), …``. Otherwise those of the next smaller power n, and then every other
    one of the slopes for 2n.

    Example:
        >>> alibi_slopes(3)
        tensor([0.0625, 0.0039, 0.2500])
    """
    n = 2 ** math.floor(math.log2(num_heads))
    exponent_H = torch.cat([torch.arange(1, n + 1, device=device), torch.arange(num_heads - n, device=device) + 0.5])
    return 2 ** (-8 / n * exponent_H)


def alibi_bias(num_heads: int, num_new: int, num_past: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What ALiBi adds to attention scores: ``-slope · |distance|``, (H, T, S) for the last T of S columns.

    For the past this is the paper's. Without causality the future is treated alike, the first of its authors' proposals for
    encoders and that of https://arxiv.org/abs/2310.19923. Alone it cannot tell a sequence from its mirror image; the tokens that
    begin and end a text can.
    """
    query_T1 = torch.arange(num_past, num_past + num_new, device=device).unsqueeze(1)
    distance_TS = (query_T1 - torch.arange(num_past + num_new, device=device)).abs()
    return (-alibi_slopes(num_heads, device)[:, None, None] * distance_TS).to(dtype)
