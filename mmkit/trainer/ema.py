"""Train one set of weights, evaluate their average."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.modules.ema import AveragedParameters


@external_store(group="trainer/callbacks")
class ExponentialMovingAverage(Callback):
    """Keep an exponential moving average of the trainable parameters, and evaluate with it.

    The average moves after optimizer steps, not after accumulated batches. During validation and testing the model computes
    with it, and gets its own weights back afterwards, also after an error. Checkpoints hold the model's own weights, and the
    average as the state of this callback, so that a run that resumes continues both exactly. Buffers are the model's own.

    Lightning's ``EMAWeightAveraging`` (2.6.6) was tried: it leaves the averaged weights in the model after training and after
    an error in a validation, averages integer buffers, copies frozen parameters, and averages a bfloat16 model in bfloat16.

    Args:
        decay: Weight of the old average at every update; ``0`` is the latest weights.
        every_n_steps: Optimizer steps between two updates.
        start_step: The average begins with the weights after this many optimizer steps; ``0`` is the initial weights.
        warmup: Limit the decay of the ``n``-th update to ``(1 + n) / (10 + n)``, so that the initial weights are soon forgotten.
        evaluate: Validate, test and predict with the average.
    """

    def __init__(
        self, decay: float = 0.999, every_n_steps: int = 1, start_step: int = 0, warmup: bool = False, evaluate: bool = True
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: it is at least 0 and smaller than 1, e.g. 0.999.")
        if every_n_steps < 1 or start_step < 0:
            raise ValueError(f"every_n_steps={every_n_steps}, start_step={start_step}: they are at least 1 and 0.")
        self.decay, self.every_n_steps, self.start_step = decay, every_n_steps, start_step
        self.warmup, self.evaluate = warmup, evaluate
        self.num_updates = 0
        self._average: AveragedParameters | None = None
        self._loaded: Mapping[str, Tensor] | None = None
        self._step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if isinstance(trainer.strategy, DeepSpeedStrategy | FSDPStrategy | ModelParallelStrategy):
            raise ValueError(
                f"ExponentialMovingAverage does not work with {type(trainer.strategy).__name__}: weights are sharded."
            )

    # Averaging

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step
        self._take_loaded(pl_module)
        self._begin_if_due(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._average is not None:
            self._average.track()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        before, self._step = self._step, trainer.global_step
        if self._step == before:
            return  # gradients are being accumulated
        if self._average is None:
            self._begin_if_due(pl_module)
        elif self._step // self.every_n_steps > before // self.every_n_steps:  # several optimizers count several steps a batch
            self.num_updates += 1
            self._average.update(min(self.decay, (1 + self.num_updates) / (10 + self.num_updates)) if self.warmup else self.decay)

    def _begin_if_due(self, pl_module: LightningModule) -> None:
        if self._average is None and self._step >= self.start_step:
            self._average = AveragedParameters(pl_module)

    # Evaluating

    def _swap_in(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_loaded(pl_module)
        if self.evaluate and self._average is not None:
            self._average.swap_in()

    def _swap_out(self, *args: Any) -> None:
        if self._average is not None:
            self._average.swap_out()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap_in(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap_in(trainer, pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap_in(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap_out()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap_out()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap_out()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._swap_out()

    # Saving

    def averaged_state_dict(self, pl_module: LightningModule) -> dict[str, Any]:
        """The state dict of the module with the average for its trainable parameters, e.g. to export it.

        Before the average begins, these are the module's own weights.
        """
        self._take_loaded(pl_module)
        state = pl_module.state_dict()
        return state if self._average is None else self._average.averaged_state(state)

    def state_dict(self) -> dict[str, Any]:
        averages = self._loaded if self._average is None else self._average.state_dict()
        return {} if averages is None else {"num_updates": self.num_updates, "averages": dict(averages)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.num_updates, self._loaded = state_dict["num_updates"], state_dict["averages"]
        self._average = None  # made when the module is on its device

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._average is not None and self._average.is_swapped:  # a run that is stopped during a validation
            checkpoint["state_dict"] = self._average.own_state(checkpoint["state_dict"])

    def _take_loaded(self, pl_module: LightningModule) -> None:
        if self._loaded is not None:
            self._average = AveragedParameters(pl_module)
            self._average.load_state_dict(self._loaded)
            self._loaded = None
