"""Tasks: what is trained (group ``task``) and what is measured on it (group ``eval_task``)."""

from mmkit.tasks.contrastive_pretraining import ContrastivePretraining


__all__ = ["ContrastivePretraining"]
