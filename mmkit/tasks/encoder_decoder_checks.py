"""What does not fit together in a task on an encoder–decoder."""

from typing import Any

from mmkit.datasets.tokenizers.base import TextTokenizer
from mmkit.hiddens import HiddensError
from mmkit.models.encoder_decoder import EncoderDecoder
from mmkit.tasks.gaussian_latents import GaussianLatents


OWN_NAMES = ("loss", "tokens_loss", "hiddens_loss", "perplexity", "accuracy", "exact_match")


def check_vocabulary(model: EncoderDecoder, tokenizer: TextTokenizer) -> None:
    """Refuse embeddings that lack ids of the tokenizer."""
    readers: dict[str, Any] = {"decoder": model.decoder}
    if model.target_modality in model.encoders:
        readers["encoder" if len(model.encoders) == 1 else f"encoders.{model.target_modality}"] = model.encoders[
            model.target_modality
        ]
    for name, module in readers.items():
        size = getattr(module, "vocab_size", None) or getattr(getattr(module, "config", None), "vocab_size", None)
        if isinstance(size, int) and size < tokenizer.vocab_size:
            raise ValueError(
                f"task.model.{name}.vocab_size={size}, but the tokenizer has {tokenizer.vocab_size} ids. Set it to "
                f"{tokenizer.vocab_size}, or more where noise adds ids."
            )


def check_names(model: EncoderDecoder, gaussians: GaussianLatents) -> None:
    """Refuse a hidden loss that would be logged under a name that is taken: what is logged would be neither."""
    losses: dict[str, Any] = dict(model.hiddens.losses.items())
    logged = dict.fromkeys(OWN_NAMES, "the task itself")
    logged |= {name: f"hiddens.transform.{transform}, as a diagnostic," for name, transform in gaussians.names().items()}
    for name, loss in losses.items():
        for term in (f"{name}_{term}" for term in (*loss.term_names, "weight")):
            if term in logged:
                raise HiddensError(
                    f"hiddens.loss.{name} would be logged as {term!r}, which {logged[term]} logs already. Rename this loss."
                )
