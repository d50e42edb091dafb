"""Synthetic long-range tasks: every example is a function of seed, split and index; nothing is stored."""

from mmkit.datasets.synthetic.associative_recall import AssociativeRecall
from mmkit.datasets.synthetic.listops import ListOps
from mmkit.datasets.synthetic.selective_copy import SelectiveCopy


__all__ = ["AssociativeRecall", "ListOps", "SelectiveCopy"]
