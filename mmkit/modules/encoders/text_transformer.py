"""Text transformer."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.datasets.core import Modalities
from mmkit.modules.encoders.inputs import check_length, modality_input, padding_mask
from mmkit.modules.layers.drop_path import growing_rates
from mmkit.modules.layers.pooling import TokenPool
from mmkit.modules.layers.transformer_block import TransformerBlock, init_transformer_weights


# Shapes: B batch, L tokens of a text, D embedding dim.


@external_store(group="modules/encoders", name="text_base", width=512, depth=12, num_heads=8)
@external_store(group="modules/encoders", name="text_small", width=384, depth=6, num_heads=6)
@external_store(group="modules/encoders", name="text_tiny", width=256, depth=4, num_heads=4)
@external_store(group="modules/encoders")
class TextTransformer(nn.Module):
    """Encode token ids with learned positions (https://arxiv.org/abs/1706.03762, pre-norm).

    Args:
        vocab_size: Number of token ids.
        max_length: Longest text in tokens; a longer one is an error.
        width: Embedding size D.
        depth: Number of blocks; ``0`` is the token and position embeddings alone, normalised.
        num_heads: Attention heads; must divide ``width``.
        mlp_ratio: Hidden size of the MLPs in units of ``width``.
        causal: Whether a token sees only itself and earlier tokens, as in CLIP (https://arxiv.org/abs/2103.00020).
        pooling: ``"mean"`` (of real tokens), ``"cls"`` (first), ``"last"`` (real token), ``"eos"`` (end-of-text token) or
            ``"none"``: the output is then (B, L, D).
        eos_token_id: Id of the end-of-text token; needed by ``pooling="eos"``.
        dropout: Probability of dropping a unit or an attention weight.
        drop_path: Probability of dropping a branch in the last block; it grows linearly from zero in the first.
        modality: The modality that is read.

    Raises:
        ValueError: Unknown pooling, ``num_heads`` does not divide ``width``, or a first token that sees nothing is pooled.
    """

    def __init__(
        self,
        vocab_size: int,
        max_length: int = 77,
        width: int = 512,
        depth: int = 12,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        causal: bool = False,
        pooling: str = "mean",
        eos_token_id: int | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        modality: str = "text",
    ) -> None:
        super().__init__()
        if causal and pooling == "cls":
            raise ValueError("pooling='cls' with causal=True: the first token sees no other. Use 'last', 'eos' or 'mean'.")
        self.modality, self.max_length = Modalities.get_modality(modality).name, max_length
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.position_embedding = nn.Parameter(0.02 * torch.randn(max_length, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, num_heads, mlp_ratio, causal=causal, dropout=dropout, drop_path=rate)
            for rate in growing_rates(drop_path, depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pool = TokenPool(pooling, eos_token_id)
        self.apply(init_transformer_weights)

    def input_spec(self) -> dict[str, Tensor]:
        """What an example holds for this encoder, without values; for ``mmkit plan``, where nothing else says it."""
        return {self.modality: torch.empty(self.max_length, dtype=torch.long, device="meta")}

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Encode a batch of texts.

        Args:
            inputs: Token ids (B, L) under the modality's name, and possibly their ``attention_mask``.

        Returns:
            Embeddings (B, D), or (B, L, D) without pooling.

        Raises:
            ValueError: The modality is absent or the text longer than ``max_length``.
        """
        token_ids_BL = modality_input(inputs, self.modality)
        check_length(token_ids_BL, self.max_length, self)
        mask_BL = padding_mask(inputs, self.modality)
        x_BLD = self.dropout(self.token_embedding(token_ids_BL) + self.position_embedding[: token_ids_BL.shape[1]])
        for block in self.blocks:
            x_BLD = block(x_BLD, mask_BL)
        return (self.pool(self.norm(x_BLD), mask_BL, token_ids_BL),)
