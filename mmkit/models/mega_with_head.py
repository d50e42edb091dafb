"""Mega's models as components whose arguments are the fields of ``MegaConfig``."""

from typing import ClassVar

from mmkit.conf.store import external_store
from mmkit.models.hf_model import HFModel


@external_store(group="models", name="MegaForSequenceClassification", head="sequence_classification")
@external_store(group="models", name="MegaForMaskedLM", head="masked_lm")
@external_store(group="models", name="MegaForCausalLM", head="causal_lm", bidirectional=False, is_decoder=True)
class MegaWithHead(HFModel):
    """A Mega model (https://arxiv.org/abs/2209.10655) with a head, its weights random.

    A trained one comes from ``HFModel`` with ``model_name_or_path``.

    Args:
        head: ``"causal_lm"``, ``"masked_lm"`` or ``"sequence_classification"``.
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
        num_labels: For sequence classification: number of classes, labels or numbers.
        problem_type: For sequence classification: ``single_label_classification``, ``multi_label_classification`` or
            ``regression``.

    Raises:
        ValueError: If the settings cannot work, with what to change.
    """

    initial_weights_arguments: ClassVar = {}
    artifact_arguments = ()

    def __init__(
        self,
        head: str,
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
        classifier_dropout: float | None = None,
        use_cache: bool = True,
        add_lm_hidden_dense_layer: bool = True,
        is_decoder: bool = False,
        add_cross_attention: bool = False,
        tie_word_embeddings: bool = True,
        num_labels: int = 2,
        problem_type: str | None = None,
    ) -> None:
        settings = {name: value for name, value in locals().items() if name not in ("self", "head", "__class__")}
        super().__init__(head, config={"model_type": "mega", **settings})
