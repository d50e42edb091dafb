"""Masked language modelling: hidden tokens from all others."""

from typing import Any

from torch import Tensor

from mmkit.conf import external_store
from mmkit.tasks.language_modeling import LanguageModeling


# Shapes: B texts, L tokens.
@external_store(group="task")
class MaskedLanguageModeling(LanguageModeling):
    """Predict hidden tokens from those around them (BERT, https://arxiv.org/abs/1810.04805, §3.1).

    What is hidden is decided where the batch is made: put a ``RandomMaskGenerator`` behind the tokenizer. It leaves the right ids
    of the hidden tokens in ``<modality>_target`` and -100 elsewhere.

    Logs ``<stage>/loss`` (nats per hidden token), ``<stage>/perplexity`` (of hidden tokens; no likelihood of a text, so there
    are no bits per byte) and ``<stage>/accuracy``. The loss is the mean over the hidden tokens of a batch; with gradient
    accumulation and on several ranks all batches count alike.

    Args:
        model: Any model of the group ``models`` or of transformers with a head for masked language modelling.
        modality: The modality whose ids (B, L) are read.
        optimizer: Partial of an optimizer.
        lr_scheduler: Partial of a scheduler, or ``{scheduler, extras}``.
        evaluation_tasks: ``{task, run_on_validation, run_on_test}`` by name.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        label_smoothing: Share of the target that is spread over the vocabulary, in the loss but not in perplexity.
    """

    def labels(self, batch: dict[str, Any]) -> Tensor:
        if self.target_key not in batch:
            raise ValueError(
                f"Masked language modelling needs {self.target_key!r}, the hidden ids, but the batch has: {', '.join(batch)}. "
                "Put a RandomMaskGenerator behind the tokenizer (Compose chains them) in "
                f"dataloader.<stage>.collate_fn.batch_processors.{self.modality}."
            )
        return self.given_labels(batch)
