"""Latents that do not depend on a draw."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmkit.hiddens import HiddensPipeline


@contextmanager
def posterior_means(hiddens: HiddensPipeline) -> Iterator[None]:
    """Let no transformation draw in evaluation mode: ``sample_in_eval`` is off meanwhile, in every one that has it."""
    drawing: list[Any] = [transform for transform in hiddens.transforms.children() if getattr(transform, "sample_in_eval", False)]
    for transform in drawing:
        transform.sample_in_eval = False
    try:
        yield
    finally:
        for transform in drawing:
            transform.sample_in_eval = True
