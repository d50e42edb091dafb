"""Relative positional biases that Mega adds to its attention scores (arXiv 2209.10655)."""

# Shapes: D distances, T queries, S keys, Z shared representation, X any leading dims.
import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init

from mmkit.models.mega.precision import without_autocast


# Distances are split as d = ROW * a + b, so that sines and cosines are taken of n / ROW + ROW positions instead of n.
ROW = 64


class SimpleRelativePositionalBias(nn.Module):
    """One learned value for each distance.

    The table has the size of a chunk when attention is chunked, as in the original implementation, else of ``max_positions``.

    Args:
        config: Mega's configuration.
        chunked: False for attention that is never chunked (cross-attention).
    """

    def __init__(self, config: Any, chunked: bool = True) -> None:
        super().__init__()
        self.max_positions = config.max_positions
        self.size = config.chunk_size if chunked and config.use_chunking else config.max_positions
        self.deviation = config.initializer_range
        self.rel_pos_bias = nn.Parameter(torch.empty(2 * self.size - 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.rel_pos_bias, std=self.deviation)

    def by_distance(self, first: int, last: int) -> Tensor:
        """The bias (D,) for ``key position - query position`` from ``first`` to ``last``.

        Raises:
            ValueError: If a distance is beyond the table.
        """
        self.check_distance(max(-first, last))
        return self.rel_pos_bias[self.size - 1 + first : self.size + last]

    def check_distance(self, farthest: int) -> None:
        """Refuse a distance beyond the table.

        Raises:
            ValueError: It is.
        """
        if farthest >= self.size:
            raise ValueError(
                f"The simple relative bias knows distances below {self.size}; {farthest} was asked for. Give a shorter "
                "sequence, or make the model with more max_positions (chunk_size when chunking), or with the rotary bias."
            )

    def between(self, query_XT: Tensor, key_XS: Tensor) -> Tensor:
        """The bias (X, T, S) between integer positions; those beyond the table, of padding, take its ends."""
        distance_XTS = key_XS.unsqueeze(-2) - query_XT.unsqueeze(-1)
        return self.rel_pos_bias[(distance_XTS + self.size - 1).clamp(0, 2 * self.size - 2)]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take the distances of one chunk out of a table made for all positions."""
        table = state_dict.get(prefix + "rel_pos_bias")
        if table is not None and self.size < self.max_positions and table.shape == (2 * self.max_positions - 1,):
            margin = self.max_positions - self.size
            state_dict[prefix + "rel_pos_bias"] = table[margin : table.shape[0] - margin]
        super()._load_from_state_dict(state_dict, prefix, *args)


class RotaryRelativePositionalBias(nn.Module):
    """The product of two learned vectors, each rotated by its position: a function of the distance with ``2 Z`` parameters.

    With the vectors read as ``Z / 2`` complex numbers a and b, and frequencies f_j = 10000^(-2j/Z), the bias for distance d is
    Re sum_j conj(a_j) b_j exp(i f_j d). Angles are taken in double precision, so it holds at any position.

    Args:
        config: Mega's configuration.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dim = config.shared_representation_size
        self.deviation = config.initializer_range
        self.alpha = nn.Parameter(torch.empty(1, self.dim))
        self.b_param = nn.Parameter(torch.empty(1, self.dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both vectors anew."""
        init.normal_(self.alpha, std=self.deviation)
        init.normal_(self.b_param, std=self.deviation)

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that are vectors in spite of their two dimensions."""
        return {"alpha", "b_param"}

    def check_distance(self, farthest: int) -> None:
        """Refuse nothing: there is a bias at any distance."""

    def fold(self, query_XT: Tensor, key_XS: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated vectors (X, T, Z) and (X, S, Z) whose products are the bias between these positions."""
        return rotate(self.alpha, query_XT), rotate(self.b_param, key_XS)

    def between(self, query_XT: Tensor, key_XS: Tensor) -> Tensor:
        """The bias (X, T, S) between positions."""
        alpha_XTZ, beta_XSZ = self.fold(query_XT, key_XS)
        with without_autocast(alpha_XTZ.device.type):
            return alpha_XTZ @ beta_XSZ.transpose(-1, -2)

    def by_distance(self, first: int, last: int) -> Tensor:
        """The bias (D,) for ``key position - query position`` from ``first`` to ``last``."""
        length = last - first + 1
        rows = torch.arange((length + ROW - 1) // ROW, device=self.alpha.device)
        columns = torch.arange(ROW, device=self.alpha.device)
        return self.between(-(first + ROW * rows), columns).flatten()[:length]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Drop the constant that the Hugging Face port stored beside the vectors."""
        state_dict.pop(prefix + "_float_tensor", None)
        super()._load_from_state_dict(state_dict, prefix, *args)


RelativeBias = SimpleRelativePositionalBias | RotaryRelativePositionalBias


def relative_bias(config: Any, chunked: bool = True) -> RelativeBias:
    """The bias that ``config.relative_positional_bias`` names."""
    if config.relative_positional_bias == "rotary":
        return RotaryRelativePositionalBias(config)
    if config.relative_positional_bias == "simple":
        return SimpleRelativePositionalBias(config, chunked)
    raise ValueError(
        f"Unknown relative_positional_bias {config.relative_positional_bias!r}. Known: rotary, simple. Set one of them."
    )


def rotate(vector_1Z: Tensor, position_X: Tensor) -> Tensor:
    """``vector_1Z`` turned by each position: (X, Z), in single precision at least."""
    half = vector_1Z.shape[-1] // 2
    vector_1Z = vector_1Z.to(torch.promote_types(vector_1Z.dtype, torch.float32))
    # A half-precision or fp32 angle is off by whole radians at far positions.
    index = torch.arange(half, device=vector_1Z.device, dtype=torch.float64)
    angle_XZ = position_X.unsqueeze(-1) * torch.exp(index * (-math.log(10000.0) / half))
    cosine_XZ, sine_XZ = angle_XZ.cos().to(vector_1Z.dtype), angle_XZ.sin().to(vector_1Z.dtype)
    real_Z, imaginary_Z = vector_1Z[0, :half], vector_1Z[0, half:]
    return torch.cat([real_Z * cosine_XZ - imaginary_Z * sine_XZ, imaginary_Z * cosine_XZ + real_Z * sine_XZ], dim=-1)
