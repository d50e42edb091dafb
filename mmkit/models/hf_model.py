"""Any model of transformers, or Mega, with a head that tasks train."""

from importlib import import_module
from inspect import signature
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.extras import require
from mmkit.modules.encoders.hf_loading import load_model
from mmkit.modules.encoders.hf_text import max_text_length


# Shapes: B texts, L tokens, D embedding dim, V ids of the vocabulary, C labels.

#: What a head is called here, and the class of transformers that finds the model for it.
HEADS = {
    "causal_lm": "AutoModelForCausalLM",
    "masked_lm": "AutoModelForMaskedLM",
    "sequence_classification": "AutoModelForSequenceClassification",
}


@external_store(group="models")
class HFModel(nn.Module):
    """A Hugging Face model with a head, for the tasks of language modelling and sequence classification.

    Knows every model of transformers, and ``model_type: mega`` (:mod:`mmkit.models.mega`).

    Args:
        head: ``"causal_lm"``, ``"masked_lm"`` or ``"sequence_classification"``.
        model_name_or_path: Hub name, local directory, or ``pkg://package/folder`` for a model inside an installed package.
        config: Beside a name: entries that override its configuration, e.g. ``{num_labels: 10}``. Alone: the whole configuration
            with its ``model_type``, e.g. ``{model_type: gpt2, n_embd: 128, ...}``; nothing is downloaded, weights are random.
        pretrained: Whether the weights of ``model_name_or_path`` are loaded; if not they are random.

    Attributes:
        model: The model itself, with all its own methods, e.g. ``generate``.

    Raises:
        ValueError: Unknown head, or the model cannot be loaded.
    """

    artifact_arguments = ("model_name_or_path",)
    initial_weights_arguments: ClassVar = {"pretrained": False}

    def __init__(
        self,
        head: str,
        model_name_or_path: str | None = None,
        config: dict[str, Any] | None = None,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"Unknown head {head!r}. Allowed: {', '.join(HEADS)}.")
        transformers = require("transformers", extra="text", needed_by="HFModel")
        import_module("mmkit.models.mega")  # registers model_type mega
        auto_class = getattr(transformers, HEADS[head])
        self.model = load_model(auto_class, model_name_or_path, config, pretrained, "HFModel")
        self._has_cache = "use_cache" in signature(self.model.forward).parameters

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config

    def input_spec(self) -> dict[str, Tensor]:
        """What an example holds for this model, without values; for ``mmkit plan``, where nothing else says it."""
        return {"text": torch.empty(min(max_text_length(self.model) or 512, 512), dtype=torch.long, device="meta")}

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, use_cache: bool | None = None, **kwargs: Any
    ) -> Any:
        """Whatever the model returns; its ``logits`` are (B, L, V), or (B, C) of a sequence classification.

        Args:
            input_ids: Token ids (B, L).
            attention_mask: 1 where a token is real, (B, L).
            use_cache: Whether to return a cache; of effect where the model has one.
            **kwargs: Further arguments of the model, e.g. ``inputs_embeds`` (B, L, D) or ``labels``.
        """
        if use_cache is not None and self._has_cache:
            kwargs["use_cache"] = use_cache
        return self.model(input_ids=input_ids, attention_mask=attention_mask, **kwargs)


def enable_gradient_checkpointing(model: nn.Module) -> None:
    """Let a Hugging Face-style model compute activations again in the backward pass, instead of keeping them.

    Raises:
        ValueError: If it cannot.
    """
    inner: Any = model.model if isinstance(model, HFModel) else model
    if not getattr(inner, "supports_gradient_checkpointing", False):
        raise ValueError(f"{type(inner).__name__} has no gradient checkpointing. Set gradient_checkpointing=false.")
    # the name of before transformers 5.20
    enable = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
    enable({"use_reentrant": False})  # the reentrant kind loses gradients where no input asks for one, as token ids never do
