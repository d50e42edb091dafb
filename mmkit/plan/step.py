"""Two steps of training (or one of evaluation) without values: memory and floating-point operations."""

import gc
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mmkit.errors import first_line
from mmkit.plan.building import Missing
from mmkit.plan.findings import BrokenError
from mmkit.plan.guards import VALUES_NEEDED, Guards
from mmkit.plan.live_memory import LiveMemory
from mmkit.plan.precision import autocast, converted
from mmkit.tasks.base import TrainingTask


@dataclass
class Memory:
    """Bytes of one rank, at the most demanding moment of a step.

    Attributes:
        parameters: Parameters and buffers, frozen ones included.
        gradients: Gradients of the trainable parameters.
        optimizer: State of the optimizer.
        average: The moving average of the weights.
        activations: All else: the batch, what the backward pass needs, and what operations need for a moment.
    """

    parameters: int = 0
    gradients: int = 0
    optimizer: int = 0
    average: int = 0
    activations: int | None = None

    @property
    def peak(self) -> int | None:
        """The sum; None if the step could not be followed to its end."""
        if self.activations is None:
            return None
        return self.parameters + self.gradients + self.optimizer + self.average + self.activations


@dataclass
class StepCost:
    """What one optimizer step costs.

    Attributes:
        memory: Bytes.
        flops: Floating-point operations, forward and backward, of all batches of the step; None if unknown.
    """

    memory: Memory
    flops: int | None = None


def bytes_of(tensors: Any) -> int:
    """Bytes of tensors; those that are shared count once."""
    return sum({id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}.values())


class PlannedStep:
    """Takes the steps.

    Args:
        task: The task, adopted by the guards' mode.
        guards: Stand around its components.
        live: Follows the memory of that mode.
        precision: ``trainer.precision``.
        accumulate: Batches of an optimizer step.
    """

    def __init__(self, task: TrainingTask, guards: Guards, live: LiveMemory, precision: Any, accumulate: int) -> None:
        self.task, self.guards, self.live = task, guards, live
        self.precision, self.accumulate = precision, accumulate
        trainable = [parameter for parameter in task.parameters() if parameter.requires_grad]
        self.memory = Memory(bytes_of([*task.parameters(), *task.buffers()]), bytes_of(trainable))

    @staticmethod
    def bytes_of_parts(modules: Iterable[nn.Module]) -> int:
        """Bytes of modules that are held beside the task."""
        return bytes_of(tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))

    def train(self, batch: dict[str, Any]) -> StepCost:
        """Train twice on a batch; the second step is the one that is measured, because the first has no optimizer state yet."""
        cost = StepCost(self.memory)
        with self._surrounded() as counter:
            if not any(parameter.requires_grad for parameter in self.task.parameters()):
                self._untrainable()
            optimizer = self._optimizer()
            for index in range(2):
                before = counter.get_total_flops()
                if index == 1:
                    gc.collect()  # tensors in cycles, which are freed at any time, would count by chance
                self.live.reset_peak()
                with autocast(self.precision):
                    loss = self._loss(self.task.training_step(converted(batch, self.precision), index))
                if self.guards.findings.mismatches:
                    break  # what was made to fit costs something else
                optimizer.zero_grad()
                loss.backward()
                if index == 0:
                    cost.flops = (counter.get_total_flops() - before) * self.accumulate
                del loss
                self._update(optimizer)
            # Within a peak are the gradients of all parameters: Lightning frees those of the last step after the forward pass.
            self._settle()
        return cost

    def evaluate(self, batch: dict[str, Any]) -> StepCost:
        """Evaluate a batch; without gradients and optimizer."""
        self.memory.gradients = 0
        cost = StepCost(self.memory)
        with self._surrounded() as counter, torch.no_grad(), autocast(self.precision):
            self.task.eval()
            self.live.reset_peak()
            self.task.test_step(converted(batch, self.precision), 0)
            cost.flops = counter.get_total_flops()
            self._settle()
        return cost

    def _settle(self) -> None:
        memory = self.memory
        memory.activations = max(self.live.peak - memory.parameters - memory.gradients - memory.optimizer, 0)

    def _optimizer(self) -> torch.optim.Optimizer:
        configured: Any = self.task.configure_optimizers()
        optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
        optimizer = optimizer[0] if isinstance(optimizer, list | tuple) and len(optimizer) == 1 else optimizer
        if isinstance(optimizer, Missing):
            raise BrokenError
        if not isinstance(optimizer, torch.optim.Optimizer):
            self.guards.findings.unknown("The task has several optimizers: memory and operations of a step are left out.")
            raise BrokenError
        return optimizer

    def _update(self, optimizer: torch.optim.Optimizer) -> None:
        try:
            optimizer.step()
        except Exception as error:
            name = type(optimizer).__name__
            self.guards.findings.unknown(f"task.optimizer: {name} decides by values; its state is not counted ({error}).")
        self.memory.optimizer = bytes_of(leaf for leaf in tree_leaves(list(optimizer.state.values())) if isinstance(leaf, Tensor))

    def _loss(self, output: Any) -> Tensor:
        loss = output["loss"] if isinstance(output, dict) else output
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            self.guards.findings.unknown("training_step returns no loss to follow: memory and operations of a step are left out.")
            raise BrokenError
        return loss

    def _untrainable(self) -> None:
        findings = self.guards.findings
        if not any(found.key.startswith("task.") for found in findings.mismatches):  # else a part may be missing that is trained
            findings.mismatch(
                "task", "task: no parameter is trainable, so there is nothing to optimize. Add task.heads, or set freeze: false."
            )
        raise BrokenError

    @contextmanager
    def _surrounded(self) -> Iterator[FlopCounterMode]:
        """What a step needs around it; failures are noted, and end it."""
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = _WholeStep()  # pyright: ignore[reportAttributeAccessIssue]
        self.guards.count = counter.get_total_flops
        attach(self.task)
        try:
            with quiet("torch._subclasses.fake_tensor"), warnings.catch_warnings(), counter, self.guards.step:
                warnings.simplefilter("ignore")  # about values that are none
                yield counter
        except BrokenError:
            pass
        except VALUES_NEEDED as error:
            self.guards.findings.unknown(
                f"The step decides by values of tensors, which a plan does not know: {first_line(error)}"
            )
        except Exception as error:
            self.guards.findings.mismatch("task", f"task: {first_line(error)}")


class _WholeStep:
    """In place of the counter's own tracker of modules, whose hooks keep what gradient checkpointing computes again alive."""

    parents: ClassVar = {"Global"}

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def attach(task: TrainingTask) -> None:
    """Give a task a trainer to ask, and let it log nothing."""
    if task._trainer is None:
        with quiet("lightning.pytorch"):
            task.trainer = Trainer(accelerator="cpu", devices=1, barebones=True)
    for name in ("log", "log_dict", "log_step", "log_evaluation", "evaluate_batch"):
        vars(task)[name] = lambda *args, **kwargs: None


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Let a library's logger say nothing for a while; fake tensors log a trace for every mismatch."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def trainable_share(module: nn.Module) -> tuple[int, int]:
    """Numbers of trainable and of all parameters."""
    parameters = list({id(parameter): parameter for parameter in module.parameters()}.values())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)
