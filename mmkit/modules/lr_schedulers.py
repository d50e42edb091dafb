"""Learning-rate schedulers: every one of torch, as a partial that the training task calls with its optimizer."""

from mmkit.conf.store import register_table


SCHEDULERS = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau",
    "SequentialLR", "StepLR",
]  # fmt: skip

register_table("torch.optim.lr_scheduler", SCHEDULERS, group="modules/lr_schedulers", supplied=["optimizer"], zen_partial=True)
