"""The settings of a Mega model; names and defaults are those of the last Hugging Face port."""

from typing import Any, ClassVar

from transformers import PretrainedConfig

from mmkit.models.mega.configuration_rules import check_config


class MegaConfig(PretrainedConfig):
    """Configuration of every Mega model (https://arxiv.org/abs/2209.10655).

    A setting that cannot work is refused here, in words. Unknown keys are kept, so any saved Mega configuration loads.

    Args:
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
        classifier_dropout: Dropout of the classification heads; ``None`` takes ``hidden_dropout_prob``.
        use_cache: Let a decoder return its cache.
        add_lm_hidden_dense_layer: Put a dense layer with tanh before the language-modelling head.
        is_decoder: See only the past.
        add_cross_attention: Attend to ``encoder_hidden_states`` too; needs a decoder.
        tie_word_embeddings: Let the language-modelling head share the word embeddings.
        **kwargs: Settings common to all models of transformers, e.g. ``num_labels``.

    Raises:
        ValueError: If the settings cannot work, with what to change.
    """

    model_type = "mega"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    def __init__(
        self,
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
        eos_token_id: int | list[int] | None = 2,
        relative_positional_bias: str = "rotary",
        classifier_dropout: float | None = None,
        use_cache: bool = True,
        add_lm_hidden_dense_layer: bool = True,
        is_decoder: bool = False,
        add_cross_attention: bool = False,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_attention_heads = 1  # Mega has one head; transformers asks every model for the number
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.intermediate_size = intermediate_size
        self.ema_projection_size = ema_projection_size
        self.bidirectional = bidirectional
        self.shared_representation_size = shared_representation_size
        self.use_chunking = use_chunking
        self.chunk_size = chunk_size
        self.truncation = truncation
        self.normalize_before_mega = normalize_before_mega
        self.normalization_type = normalization_type
        self.norm_affine = norm_affine
        self.activation = activation
        self.attention_activation = attention_activation
        self.dropout_prob = dropout_prob
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.use_feature_dropout = use_feature_dropout
        self.use_normalized_ffn = use_normalized_ffn
        self.nffn_hidden_size = nffn_hidden_size
        self.normalize_before_ffn = normalize_before_ffn
        self.nffn_activation_dropout_prob = nffn_activation_dropout_prob
        self.max_positions = max_positions
        self.add_token_type_embeddings = add_token_type_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.ema_delta_alpha_range = ema_delta_alpha_range
        self.ema_beta_range = ema_beta_range
        self.ema_gamma_omega_range = ema_gamma_omega_range
        self.pad_token_id = pad_token_id
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        self.relative_positional_bias = relative_positional_bias
        self.classifier_dropout = classifier_dropout
        self.use_cache = use_cache
        self.add_lm_hidden_dense_layer = add_lm_hidden_dense_layer
        self.is_decoder = is_decoder
        self.add_cross_attention = add_cross_attention
        self.tie_word_embeddings = tie_word_embeddings
        check_config(self)

    # transformers makes each configuration a dataclass, whose own equality would see inherited fields only.
    __eq__ = PretrainedConfig.__eq__
