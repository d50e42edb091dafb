"""What tasks on a Hugging Face-style model share: reading the batch, calling the model, gradient checkpointing."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.datasets.core import Modalities
from mmkit.models.hf_model import enable_gradient_checkpointing
from mmkit.tasks.base import TrainingTask


# Shapes: B examples, L tokens, F features of an input, D embedding dim.
class SequenceModelTask(TrainingTask):
    """Base of tasks that train one model with the calling convention of Hugging Face.

    Args:
        model: Takes ``input_ids`` (B, L), or ``inputs_embeds`` (B, L, D), and ``attention_mask`` (B, L) by name, and returns
            something with ``logits``: a component of the group ``models``, or any model of transformers.
        modality: The modality that is read; its attention mask, if the batch has one, is 1 on what is real.
        optimizer: Partial of an optimizer.
        lr_scheduler: Partial of a scheduler, or ``{scheduler, extras}``.
        evaluation_tasks: ``{task, run_on_validation, run_on_test}`` by name.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them: a third more time for
            much less memory. Changes no result.

    Raises:
        ValueError: If the model cannot checkpoint its gradients, or the modality is unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        modality: str = "text",
        optimizer: partial[torch.optim.Optimizer] | None = None,
        lr_scheduler: dict[str, Any] | partial[torch.optim.lr_scheduler.LRScheduler] | None = None,
        evaluation_tasks: dict[str, Any] | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(optimizer=optimizer, lr_scheduler=lr_scheduler, evaluation_tasks=evaluation_tasks)
        self.model = model.train()  # transformers hands loaded models over in evaluation mode, and Lightning would keep it
        self.modality = Modalities.get_modality(modality).name
        self.mask_key = Modalities.get_modality(modality).attention_mask
        self.target_key = Modalities.get_modality(modality).target
        # A cache of keys and values is for decoding; in training it holds memory, and checkpointing cannot use it
        has_cache = "use_cache" in inspect.signature(model.forward).parameters
        self._model_options: dict[str, Any] = {"use_cache": False} if has_cache else {}
        if gradient_checkpointing:
            enable_gradient_checkpointing(model)

    def modules_reading(self) -> dict[str, str]:
        """The modality that is read, and the key of the component that reads it; for ``mmkit plan``."""
        return {self.modality: "task.model"}

    def forward(self, inputs: Mapping[str, Any]) -> Tensor:
        """Logits of a batch.

        Args:
            inputs: Ids (B, L), or features (B, L, D) in floating point, under the modality's name, and perhaps its mask.

        Raises:
            ValueError: If the modality is absent.
            TypeError: If it is not a tensor, or the model returns no logits.
        """
        x = self.read(inputs)
        name = "inputs_embeds" if x.is_floating_point() else "input_ids"
        output = self.model(**{name: x}, attention_mask=inputs.get(self.mask_key), **self._model_options)
        if not hasattr(output, "logits"):
            raise TypeError(
                f"task.model returned {type(output).__name__} without `logits`. Use a model with a head, e.g. HFModel with "
                "head=causal_lm, masked_lm or sequence_classification."
            )
        return output.logits

    def read(self, inputs: Mapping[str, Any]) -> Tensor:
        """The tensor of the modality in a batch.

        Raises:
            ValueError: If the modality is absent.
            TypeError: If it is not a tensor.
        """
        if self.modality not in inputs:
            raise ValueError(f"task.modality={self.modality}, but the batch has: {', '.join(inputs)}. Name one of these.")
        x = inputs[self.modality]
        if not isinstance(x, Tensor):
            raise TypeError(
                f"The model needs {self.modality!r} as a tensor, got {type(x).__name__}. Add a tokenizer as "
                f"dataloader.<stage>.collate_fn.batch_processors.{self.modality}."
            )
        return x
