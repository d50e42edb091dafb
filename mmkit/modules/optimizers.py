"""Optimizers: every one of torch, as a partial that the training task calls with its parameters."""

from mmkit.conf.store import register_table


OPTIMIZERS = [
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam",
    "RMSprop", "Rprop", "SGD", "SparseAdam",
]  # fmt: skip

register_table("torch.optim", OPTIMIZERS, group="modules/optimizers", supplied=["params"], zen_partial=True)
