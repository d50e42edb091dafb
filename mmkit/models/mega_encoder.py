"""Mega as an encoder of sequences (config group ``modules/encoders``)."""

from collections.abc import Mapping
from inspect import signature

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.datasets.core import Modalities
from mmkit.extras import require
from mmkit.models.hf_model import enable_gradient_checkpointing
from mmkit.modules.encoders.inputs import modality_input, padding_mask
from mmkit.modules.layers.pooling import TokenPool


# Shapes: B batch, L tokens of a sequence, F features of a token, D embedding dim (hidden_size).


@external_store(group="modules/encoders")
class MegaEncoder(nn.Module):
    """Encode token ids, or a sequence of feature vectors, with Mega (https://arxiv.org/abs/2209.10655); its weights are random.

    Args:
        input_dim: Features F of every token, which a linear layer maps to ``hidden_size``; None: the input is token ids.
        pooling: ``"mean"`` (of real tokens), ``"cls"`` (first token), ``"last"`` (real token), ``"eos"`` (end-of-text token,
            ``eos_token_id``) or ``"none"``: the output is then (B, L, D).
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        modality: The modality that is read.
        vocab_size: Number of tokens.
        hidden_size: Width of the residual stream (``d`` in the paper).
        num_hidden_layers: Number of blocks.
        intermediate_size: Width of the attention values (``v``).
        ema_projection_size: Dimensions into which the moving average expands each feature (``h``).
        bidirectional: Average over both directions; a decoder needs ``False``.
        shared_representation_size: Width of queries and keys (``z``); even with the rotary bias.
        use_chunking: Attend within chunks only (Mega-chunk), so that the cost is linear in the length.
        chunk_size: Tokens of one chunk; read with ``use_chunking`` only.
        truncation: Length at which the kernel of the moving average is cut; ``None`` keeps all of it.
        normalize_before_mega: Normalize before the gated attention (``True``) or after it.
        normalization_type: ``scalenorm``, ``layernorm``, ``rmsnorm``, ``batchnorm`` or ``syncbatchnorm``.
        norm_affine: Give the norms a learned scale.
        activation: ``silu``, ``relu``, ``linear``, ``gelu``, ``gelu_accurate`` or another name of transformers.
        attention_activation: ``softmax``, ``laplace`` or ``relu2``.
        dropout_prob: Dropout on the output of a sub-layer.
        hidden_dropout_prob: Dropout on the attention values and in the heads.
        attention_probs_dropout_prob: Dropout on the attention weights.
        use_feature_dropout: Drop a feature at all positions of a sequence at once.
        use_normalized_ffn: Follow the attention with a feed-forward layer.
        nffn_hidden_size: Width inside that layer.
        normalize_before_ffn: Normalize before that layer (``True``) or after it.
        nffn_activation_dropout_prob: Dropout inside that layer.
        max_positions: Longest sequence for the simple bias; the rotary bias has no limit.
        add_token_type_embeddings: Add an embedding of ``token_type_ids``.
        type_vocab_size: Number of token types.
        initializer_range: Standard deviation of the weights at the start.
        ema_delta_alpha_range: The same for damping and decay of the moving average.
        ema_beta_range: The same for its expansion, around 1, -1, 1, -1, ...
        ema_gamma_omega_range: The same for its projection and residual weight.
        pad_token_id: Padding token; its embedding is zero and stays so.
        bos_token_id: Token that begins a text.
        eos_token_id: Token that ends a text.
        relative_positional_bias: ``rotary`` or ``simple``.
        is_decoder: See only the past.

    Raises:
        ValueError: If the settings cannot work, with what to change, or the pooling is unknown.
    """

    def __init__(
        self,
        input_dim: int | None = None,
        pooling: str = "mean",
        gradient_checkpointing: bool = False,
        modality: str = "text",
        vocab_size: int = 30522,
        hidden_size: int = 128,
        num_hidden_layers: int = 4,
        intermediate_size: int = 256,
        ema_projection_size: int = 16,
        bidirectional: bool = True,
        shared_representation_size: int = 64,
        use_chunking: bool = False,
        chunk_size: int = -1,
        truncation: int | None = None,
        normalize_before_mega: bool = True,
        normalization_type: str = "scalenorm",
        norm_affine: bool = True,
        activation: str = "silu",
        attention_activation: str = "softmax",
        dropout_prob: float = 0.1,
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        use_feature_dropout: bool = False,
        use_normalized_ffn: bool = True,
        nffn_hidden_size: int = 256,
        normalize_before_ffn: bool = True,
        nffn_activation_dropout_prob: float = 0.1,
        max_positions: int = 2048,
        add_token_type_embeddings: bool = False,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        ema_delta_alpha_range: float = 0.2,
        ema_beta_range: float = 0.02,
        ema_gamma_omega_range: float = 1.0,
        pad_token_id: int | None = 1,
        bos_token_id: int | None = 0,
        eos_token_id: int | None = 2,
        relative_positional_bias: str = "rotary",
        is_decoder: bool = False,
    ) -> None:
        given = dict(locals())
        super().__init__()
        require("transformers", extra="text", needed_by="MegaEncoder")
        from mmkit.models.mega import MegaConfig, MegaModel

        if input_dim is not None:  # there are no ids: the smallest table
            given |= {"vocab_size": 1, "pad_token_id": None}
        config = MegaConfig(**{name: given[name] for name in signature(MegaConfig).parameters if name in given})
        self.modality = Modalities.get_modality(modality).name
        self.model = MegaModel(config, add_pooling_layer=False)
        self.input_projection = None if input_dim is None else nn.Linear(input_dim, hidden_size)
        # without ids the table is not used: distributed training would wait for its gradient
        self.model.get_input_embeddings().requires_grad_(input_dim is None)
        if gradient_checkpointing:
            enable_gradient_checkpointing(self.model)
        self.pool = TokenPool(pooling, eos_token_id)

    def input_spec(self) -> dict[str, Tensor]:
        """What an example holds for this encoder, without values; for ``mmkit plan``, where nothing else says it."""
        if self.input_projection is None:
            return {self.modality: torch.empty(512, dtype=torch.long, device="meta")}
        return {self.modality: torch.empty(512, self.input_projection.in_features, device="meta")}

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Encode a batch of sequences.

        Args:
            inputs: Token ids (B, L), or features (B, L, F), under the modality's name, and possibly their ``attention_mask``.

        Returns:
            Embeddings (B, D), or (B, L, D) without pooling.

        Raises:
            ValueError: The modality is absent.
        """
        x = modality_input(inputs, self.modality)
        mask_BL = padding_mask(inputs, self.modality)
        source = {"input_ids": x} if self.input_projection is None else {"inputs_embeds": self.input_projection(x)}
        x_BLD = self.model(**source, attention_mask=mask_BL, use_cache=False).last_hidden_state
        return (self.pool(x_BLD, mask_BL, x),)
