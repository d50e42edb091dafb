"""Hugging Face text encoders."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.datasets.core import Modalities
from mmkit.extras import require
from mmkit.modules.encoders.fine_tuning import choose_trainable
from mmkit.modules.encoders.freezing import FreezableEncoder
from mmkit.modules.encoders.hf_loading import load_model
from mmkit.modules.encoders.inputs import check_length, modality_input, padding_mask
from mmkit.modules.layers.pooling import TokenPool


# Shapes: B batch, L tokens of a text, D embedding dim.


@external_store(group="modules/encoders")
class HFTextEncoder(FreezableEncoder):
    """Encode token ids with any text model of Hugging Face; of encoder-decoders the encoder is used.

    Args:
        model_name_or_path: Hub name, local directory, or ``pkg://package/folder`` for a model inside an installed package.
        config: Beside a name: entries that override its configuration. Alone: the whole configuration with its
            ``model_type``, e.g. ``{model_type: bert, hidden_size: 128, ...}``; nothing is downloaded, weights are random.
        pretrained: Whether the weights of ``model_name_or_path`` are loaded; if not they are random.
        pooling: ``"mean"`` (of real tokens), ``"cls"`` (first token), ``"last"`` (real token), ``"eos"`` (end-of-text token) or
            ``"none"``: the output is then (B, L, D).
        eos_token_id: Id of the end-of-text token for ``pooling="eos"``. Default: that of the model's configuration.
        freeze: What is not trained: a number of layers counted from the input or, as a float, a fraction of them, both with
            the embeddings; ``1`` is one layer, ``1.0`` and true are everything. Frozen layers stay in evaluation mode.
        freeze_layer_norm: Whether layer norms in the frozen part are frozen too.
        peft_config: Arguments of a peft configuration, e.g. ``{r: 8, target_modules: [query, value]}``: only adapters are
            trained (LoRA, https://arxiv.org/abs/2106.09685, unless ``peft_type`` says otherwise).
        modality: The modality that is read.

    Raises:
        ValueError: The model cannot be loaded, unknown pooling, or more layers to freeze than there are.
    """

    artifact_arguments = ("model_name_or_path",)
    initial_weights_arguments: ClassVar = {"pretrained": False}

    def __init__(
        self,
        model_name_or_path: str | None = None,
        config: dict[str, Any] | None = None,
        pretrained: bool = True,
        pooling: str = "mean",
        eos_token_id: int | None = None,
        freeze: bool | int | float = False,
        freeze_layer_norm: bool = True,
        peft_config: dict[str, Any] | None = None,
        modality: str = "text",
    ) -> None:
        super().__init__()
        transformers = require("transformers", extra="text", needed_by="HFTextEncoder")
        self.modality = Modalities.get_modality(modality).name
        model = load_model(transformers.AutoModel, model_name_or_path, config, pretrained, "HFTextEncoder")
        self.model = model.get_encoder() if model.config.is_encoder_decoder else model
        if isinstance(getattr(self.model, "pooler", None), nn.Module):
            self.model.pooler.requires_grad_(False)  # not used; distributed training would wait for its gradient
        self.max_length = max_text_length(self.model)
        self.pool = TokenPool(pooling, _eos_token_id(self.model, eos_token_id))
        choose_trainable(self, freeze, freeze_layer_norm, peft_config)

    def input_spec(self) -> dict[str, Tensor]:
        """What an example holds for this encoder, without values; for ``mmkit plan``, where nothing else says it."""
        return {self.modality: torch.empty(self.max_length or 512, dtype=torch.long, device="meta")}

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Encode a batch of texts.

        Args:
            inputs: Token ids (B, L) under the modality's name, and possibly their ``attention_mask``.

        Returns:
            Embeddings (B, D), or (B, L, D) without pooling.

        Raises:
            ValueError: The modality is absent or the text is longer than the model takes.
        """
        token_ids_BL = modality_input(inputs, self.modality)
        check_length(token_ids_BL, self.max_length, self)
        mask_BL = padding_mask(inputs, self.modality)
        x_BLD = self.model(input_ids=token_ids_BL, attention_mask=mask_BL).last_hidden_state
        return (self.pool(x_BLD, mask_BL, token_ids_BL),)


def max_text_length(model: Any) -> int | None:
    """Longest text in tokens that a Hugging Face model has positions for; None if there is no limit."""
    limit = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return module.num_embeddings - module.padding_idx - 1  # RoBERTa counts positions from behind the padding index
    return limit if limit is not None and limit > 0 else None


def _eos_token_id(model: Any, given: int | None) -> int | None:
    configured = model.config.eos_token_id if given is None else given
    return configured[0] if isinstance(configured, list) else configured
