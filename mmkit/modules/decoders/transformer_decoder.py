"""A transformer that predicts the next token, from the tokens before it and a memory."""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.modules.layers.sequence import SequenceBlock, final_norm, init_sequence_weights
from mmkit.modules.layers.sequence.cache import DecoderCache
from mmkit.modules.layers.sequence.initialization import INITIALIZER_RANGE
from mmkit.modules.layers.sequence.positions import POSITIONS, LearnedPositions
from mmkit.modules.layers.sequence.recompute import run_block


# Shapes: B batch, T new positions, C positions so far (the new ones included), S memory positions, M their size, H hidden_size,
# V vocabulary.


@dataclass
class DecoderOutput:
    """What a decoder returns.

    Attributes:
        logits: Scores (B, T, V) of the token that follows each position.
        past_key_values: The cache; None without ``use_cache``.
    """

    logits: Tensor
    past_key_values: DecoderCache | None = None


@external_store(group="modules/decoders")
class TransformerDecoder(nn.Module):
    """Decode tokens with self-attention to the earlier ones and cross-attention to a memory (https://arxiv.org/abs/1706.03762).

    It is called as Hugging Face's decoders are.

    Args:
        vocab_size: Number of token ids V.
        hidden_size: Width H.
        num_layers: Number of blocks.
        num_attention_heads: Attention heads; must divide ``hidden_size``.
        memory_size: Size M of the memory's vectors, such as the latent size. Default: ``hidden_size``.
        ffn_hidden_size: Inner size of the feed-forward layers. Default: ``4 · hidden_size``, two thirds of it for gated units.
        normalization: ``"layernorm"`` or ``"rmsnorm"`` (https://arxiv.org/abs/1910.07467).
        norm_position: ``"pre"`` (before every branch), ``"post"`` (after it, as in BART) or ``"normformer"``
            (https://arxiv.org/abs/2110.09456).
        activation: ``"gelu"``, ``"geglu"`` or ``"swiglu"`` (https://arxiv.org/abs/2002.05202).
        position_embedding: ``"learned"``, ``"rotary"`` (https://arxiv.org/abs/2104.09864), ``"alibi"``
            (https://arxiv.org/abs/2108.12409) or ``"none"``: a causal decoder can count without
            (https://arxiv.org/abs/2203.16634).
        max_positions: Longest text, with learned positions.
        dropout: Probability of dropping a unit of the embedding or of what a branch adds.
        attention_dropout: Probability of dropping an attention weight. Above 0, attention is slow on a CPU.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        tie_word_embeddings: Score tokens by their own embeddings, as BART does, instead of with a matrix of its own.
        initializer_range: Standard deviation of the initial weights; ``1/√hidden_size`` starts small models faster, 0.02 is
            BART's.

    Raises:
        ValueError: An unknown name, or ``num_attention_heads`` does not divide ``hidden_size``.
    """

    #: Causal attention never sees padding behind a text; without a mask it is faster.
    needs_attention_mask = False

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int = 256,
        num_layers: int = 4,
        num_attention_heads: int = 4,
        memory_size: int | None = None,
        ffn_hidden_size: int | None = None,
        normalization: str = "layernorm",
        norm_position: str = "pre",
        activation: str = "gelu",
        position_embedding: str = "learned",
        max_positions: int = 512,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        gradient_checkpointing: bool = False,
        tie_word_embeddings: bool = True,
        initializer_range: float = INITIALIZER_RANGE,
    ) -> None:
        super().__init__()
        if position_embedding not in POSITIONS:
            raise ValueError(f"Unknown position_embedding {position_embedding!r}. Allowed: {', '.join(POSITIONS)}.")
        self.vocab_size, self.hidden_size, self.memory_size = vocab_size, hidden_size, memory_size or hidden_size
        self.gradient_checkpointing = gradient_checkpointing
        self.embedding = nn.Embedding(vocab_size, hidden_size)
        self.positions = LearnedPositions(max_positions, hidden_size) if position_embedding == "learned" else None
        self.dropout = nn.Dropout(dropout)
        options: dict[str, Any] = {
            "position": position_embedding if position_embedding in ("rotary", "alibi") else None,
            "ffn_hidden_size": ffn_hidden_size,
            "activation": activation,
            "normalization": normalization,
            "norm_position": norm_position,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "cross_attention": True,
            "memory_dim": self.memory_size,
            "causal": True,
        }
        self.blocks = nn.ModuleList(SequenceBlock(hidden_size, num_attention_heads, **options) for _ in range(num_layers))
        self.norm = final_norm(normalization, norm_position, hidden_size)
        self.lm_head = None if tie_word_embeddings else nn.Linear(hidden_size, vocab_size, bias=False)
        init_sequence_weights(self, initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: DecoderCache | None = None,
        use_cache: bool = False,
    ) -> DecoderOutput:
        """Score what follows each position.

        Args:
            input_ids: Token ids (B, T); with a cache, the new ones.
            attention_mask: Nonzero where a token is real: (B, T), or (B, C) of those in the cache too; None if all are. Padding
                behind a text needs none, except that it stands before further tokens of a cache.
            encoder_hidden_states: The memory (B, S, M). With a cache it is read in the first step only, and may then be None.
            encoder_attention_mask: Nonzero where the memory is real (B, S); None if all is. Read in the first step only, too.
            past_key_values: The cache that an earlier step returned.
            use_cache: Return a cache.

        Raises:
            ValueError: There is no memory, it has another size, or a mask has another length.
        """
        cache = DecoderCache(len(self.blocks)) if use_cache and past_key_values is None else past_key_values
        num_past = 0 if cache is None else cache.get_seq_length()
        mask_BC = attention_mask if cache is None else cache.extend(input_ids.shape[1], attention_mask)
        memory_mask_BS = self._memory_mask(encoder_hidden_states, encoder_attention_mask, cache, num_past)
        x_BTH = self.embedding(input_ids)
        if self.positions is not None:
            x_BTH = self.positions(x_BTH, mask_BC, num_past)
        x_BTH = self._run_blocks(self.dropout(x_BTH), mask_BC, encoder_hidden_states, memory_mask_BS, cache, num_past)
        return DecoderOutput(self._logits(self.norm(x_BTH)), cache)

    def _logits(self, x_BTH: Tensor) -> Tensor:
        return F.linear(x_BTH, self.embedding.weight) if self.lm_head is None else self.lm_head(x_BTH)

    def _run_blocks(
        self,
        x_BTH: Tensor,
        mask_BC: Tensor | None,
        memory_BSM: Tensor | None,
        memory_mask_BS: Tensor | None,
        cache: DecoderCache | None,
        num_past: int,
    ) -> Tensor:
        context = self.blocks[0].context(x_BTH, mask_BC, num_past) if len(self.blocks) else None  # pyright: ignore
        recomputes = self.gradient_checkpointing and cache is None  # a block that ran twice would fill its cache twice
        for index, block in enumerate(self.blocks):
            own = None if cache is None else cache.layers[index]
            x_BTH = run_block(block, recomputes, x_BTH, None, memory_BSM, memory_mask_BS, own, context)
        return x_BTH

    def _memory_mask(
        self, memory_BSM: Tensor | None, mask_BS: Tensor | None, cache: DecoderCache | None, num_past: int
    ) -> Tensor | None:
        """The mask of the memory: as given, or as it was in the first step; and a look at the memory."""
        if cache is not None and num_past:
            return cache.memory_mask_BS
        if memory_BSM is None:
            raise ValueError("TransformerDecoder attends to encoder_hidden_states, (B, S, memory_size), and got none. Give them.")
        if memory_BSM.shape[-1] != self.memory_size:
            raise ValueError(
                f"encoder_hidden_states have the size {memory_BSM.shape[-1]}, the decoder has memory_size={self.memory_size}. "
                f"Set memory_size={memory_BSM.shape[-1]}."
            )
        if cache is not None:
            cache.memory_mask_BS = mask_BS
        return mask_BS
