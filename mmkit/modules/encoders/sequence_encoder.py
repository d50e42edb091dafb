"""Transformer and perceiver over token ids or feature vectors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.datasets.core import Modalities
from mmkit.modules.encoders.inputs import modality_input, padding_mask
from mmkit.modules.layers.pooling import POOLINGS, TokenPool
from mmkit.modules.layers.sequence import Perceiver, init_sequence_weights
from mmkit.modules.layers.sequence.initialization import INITIALIZER_RANGE
from mmkit.modules.layers.sequence.positions import POSITIONS, LearnedPositions
from mmkit.modules.layers.sequence.stack import BlockStack


# Shapes: B batch, L positions of the input, F features of each, S positions of the output (L, or hidden_steps), H hidden_size.

ARCHITECTURES = ("transformer", "perceiver")


@external_store(group="modules/encoders", name="sequence_base", hidden_size=768, num_layers=12, num_attention_heads=12)
@external_store(group="modules/encoders", name="sequence_small", hidden_size=384, num_layers=6, num_attention_heads=6)
@external_store(
    group="modules/encoders", name="perceiver_small", arch="perceiver", hidden_size=384, num_layers=6, num_attention_heads=6
)
@external_store(group="modules/encoders")
class SequenceEncoder(nn.Module):
    """Encode token ids, or a sequence of feature vectors, as one vector for every position, or as ``hidden_steps`` vectors.

    Args:
        vocab_size: Number of token ids; None for feature vectors.
        hidden_size: Width H.
        num_layers: Number of blocks (``0`` is the normed embedding alone); of a perceiver: of cross-attentions.
        num_attention_heads: Attention heads; must divide ``hidden_size``.
        arch: ``"transformer"`` (https://arxiv.org/abs/1706.03762), or ``"perceiver"`` (https://arxiv.org/abs/2103.03206).
        hidden_steps: Number of vectors that a perceiver makes of any input.
        num_self_attention_per_cross_attention: Blocks of self-attention after every cross-attention of a perceiver.
        ffn_hidden_size: Inner size of the feed-forward layers; by default ``4 · hidden_size``, two thirds of it for gated units.
        normalization: ``"layernorm"`` or ``"rmsnorm"`` (https://arxiv.org/abs/1910.07467).
        norm_position: ``"pre"`` (before every branch), ``"post"`` (after it, as in BERT and BART) or ``"normformer"``
            (https://arxiv.org/abs/2110.09456).
        activation: ``"gelu"``, ``"geglu"`` or ``"swiglu"`` (https://arxiv.org/abs/2002.05202).
        position_embedding: ``"learned"``; ``"rotary"`` (https://arxiv.org/abs/2104.09864); ``"alibi"``
            (https://arxiv.org/abs/2108.12409), with the absolute distance; or ``"none"``, where features tell their position
            themselves or have none (a perceiver takes ``"learned"`` or ``"none"``: its cross-attention has no positions).
        max_positions: Longest input with learned positions; the other kinds have no limit.
        dropout: Probability of dropping a unit of the embedding or of what a branch adds.
        attention_dropout: Probability of dropping an attention weight; above 0, attention is slow on a CPU.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        initializer_range: Standard deviation of the initial weights; ``1/√hidden_size`` starts small models faster, 0.02 is
            made for widths of 500 and more.
        pooling: ``"none"``, or ``"mean"`` (of real positions), ``"cls"`` (first) or ``"last"`` (real position) for one vector.
        modality: The modality that is read.
        pad_id: Token id that is padding where a batch has no attention mask; None: all is real there.
        input_size: Features F of every position, which a linear map takes to ``hidden_size``; instead of ``vocab_size``.

    Raises:
        ValueError: An unknown name, a combination that cannot work, or not exactly one of ``vocab_size`` and ``input_size``.
    """

    def __init__(
        self,
        vocab_size: int | None = None,
        hidden_size: int = 256,
        num_layers: int = 4,
        num_attention_heads: int = 4,
        arch: str = "transformer",
        hidden_steps: int = 8,
        num_self_attention_per_cross_attention: int = 1,
        ffn_hidden_size: int | None = None,
        normalization: str = "layernorm",
        norm_position: str = "pre",
        activation: str = "gelu",
        position_embedding: str = "learned",
        max_positions: int = 512,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        gradient_checkpointing: bool = False,
        initializer_range: float = INITIALIZER_RANGE,
        pooling: str = "none",
        modality: str = "text",
        pad_id: int | None = None,
        input_size: int | None = None,
    ) -> None:
        super().__init__()
        _check(arch, position_embedding, pooling, vocab_size, input_size)
        self.modality, self.pad_id = Modalities.get_modality(modality).name, pad_id
        self.hidden_size, self.hidden_steps, self.max_positions = hidden_size, hidden_steps, max_positions
        self.vocab_size = vocab_size
        self.embedding = nn.Linear(input_size, hidden_size) if input_size else nn.Embedding(vocab_size or 0, hidden_size)
        self.positions = LearnedPositions(max_positions, hidden_size) if position_embedding == "learned" else None
        self.dropout = nn.Dropout(dropout)
        options: dict[str, Any] = {
            "num_layers": num_layers,
            "ffn_hidden_size": ffn_hidden_size,
            "activation": activation,
            "normalization": normalization,
            "norm_position": norm_position,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "gradient_checkpointing": gradient_checkpointing,
        }
        if arch == "perceiver":
            options["num_self_attention_per_cross_attention"] = num_self_attention_per_cross_attention
            options["initializer_range"] = initializer_range
            self.layers = Perceiver(hidden_size, num_attention_heads, hidden_steps, **options)
        else:
            position = position_embedding if position_embedding in ("rotary", "alibi") else None
            self.layers = BlockStack(hidden_size, num_attention_heads, position=position, **options)
        self.pool = TokenPool(pooling)
        init_sequence_weights(self, initializer_range)

    def input_spec(self) -> dict[str, Tensor]:
        """What an example holds for this encoder, without values; for ``mmkit plan``, where nothing else says it."""
        if isinstance(self.embedding, nn.Linear):
            return {self.modality: torch.empty(self.max_positions, self.embedding.in_features, device="meta")}
        return {self.modality: torch.empty(self.max_positions, dtype=torch.long, device="meta")}

    @property
    def num_positions(self) -> int | None:
        """Number S of output positions where no input changes it: ``hidden_steps`` of a perceiver, 1 with pooling; else None."""
        if self.pool.pooling != "none":
            return 1
        return self.hidden_steps if isinstance(self.layers, Perceiver) else None

    def output_mask(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Which positions of the output are real, (B, S): all, where their number is fixed."""
        x, mask_BL = modality_input(inputs, self.modality), self._mask(inputs)
        if self.num_positions is None and mask_BL is not None:
            return mask_BL.bool()
        return x.new_ones(len(x), self.num_positions or x.shape[1], dtype=torch.bool)

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Encode a batch of sequences.

        Args:
            inputs: Token ids (B, L), or features (B, L, F), under the modality's name, and possibly their ``attention_mask``.

        Returns:
            Vectors (B, S, H), of which those of padding mean nothing (see :meth:`output_mask`), or (B, H) with pooling.

        Raises:
            ValueError: The modality is absent, or longer than ``max_positions`` with learned positions.
        """
        mask_BL = self._mask(inputs)
        x_BLH = self.embedding(modality_input(inputs, self.modality))
        if self.positions is not None:
            x_BLH = self.positions(x_BLH, mask_BL)
        x_BSH = self.layers(self.dropout(x_BLH), mask_BL)
        return (self.pool(x_BSH, None if isinstance(self.layers, Perceiver) else mask_BL),)

    def _mask(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        mask_BL = padding_mask(inputs, self.modality)
        if mask_BL is not None or self.pad_id is None:
            return mask_BL
        return modality_input(inputs, self.modality) != self.pad_id


def _check(arch: str, position_embedding: str, pooling: str, vocab_size: int | None, input_size: int | None) -> None:
    known = {"arch": (arch, ARCHITECTURES), "position_embedding": (position_embedding, POSITIONS), "pooling": (pooling, POOLINGS)}
    for name, (value, allowed) in known.items():
        if value not in allowed:
            raise ValueError(f"Unknown {name} {value!r}. Allowed: {', '.join(allowed)}.")
    if arch == "perceiver" and position_embedding in ("rotary", "alibi"):
        raise ValueError(
            f"A perceiver cannot tell the order of its input by position_embedding={position_embedding!r}: that acts on "
            "self-attention, and a perceiver reads its input by cross-attention. Use 'learned'."
        )
    if (vocab_size is None) == (input_size is None):
        raise ValueError(
            f"Give either vocab_size={vocab_size}, for token ids, or input_size={input_size}, for feature vectors, and not both."
        )
