"""Lightning's record of its progress, settled so that a run goes on exactly where it was saved.

Lightning guesses from its counters where a checkpoint was made, and does so for the places where its own callback saves. Each
function here writes the counters of one of our places; tests/experiment/test_exact_resume.py holds them against Lightning.
"""

from enum import Enum, auto
from typing import Any

from lightning.pytorch import Trainer


class Position(Enum):
    """Where in the training a checkpoint is made."""

    NEXT_BATCH = auto()  # before a batch; the validation after the one before is done
    BEFORE_VALIDATION = auto()  # after a batch; the validation that follows has to be run
    END = auto()  # the training is over


def settle(fit_loop: dict[str, Any], position: Position, trainer: Trainer) -> None:
    """Correct the dumped state of the fit loop in place.

    Args:
        fit_loop: ``checkpoint["loops"]["fit_loop"]``.
        position: Where the checkpoint is made.
        trainer: The trainer.
    """
    if position is Position.NEXT_BATCH:
        _count_logged_step_once(fit_loop, trainer)
    elif position is Position.BEFORE_VALIDATION:
        _ask_for_validation(fit_loop)
    else:
        _reopen_epoch(fit_loop, trainer)


def _count_logged_step_once(fit_loop: dict[str, Any], trainer: Trainer) -> None:
    """Lightning adds one to the logged step on restart, as its own callback saves before it is counted."""
    ready = fit_loop["epoch_loop.batch_progress"]["current"]["ready"]
    if ready % trainer.accumulate_grad_batches == 0 or ready >= trainer.num_training_batches:
        fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


def _ask_for_validation(fit_loop: dict[str, Any]) -> None:
    """Counters of a validation that broke off in its first batch; it is then run as a whole."""
    progress = fit_loop["epoch_loop.val_loop.batch_progress"]
    progress["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    progress["current"] = {"ready": 0, "started": 0, "processed": 0, "completed": 0}
    progress["is_last_batch"] = False


def _reopen_epoch(fit_loop: dict[str, Any], trainer: Trainer) -> None:
    """An epoch that ``max_steps`` cut short is not over: with a larger ``max_steps`` the run goes on before its next batch."""
    batches = fit_loop["epoch_loop.batch_progress"]
    if batches["is_last_batch"]:
        return
    for counters in (batches["total"], batches["current"]):
        counters["ready"] = counters["completed"] + 1
    for counters in (fit_loop["epoch_progress"]["total"], fit_loop["epoch_progress"]["current"]):
        counters["processed"] = counters["completed"] = counters["started"] - 1
    _count_logged_step_once(fit_loop, trainer)


def count_batches(fit_loop: dict[str, Any], batch: int) -> None:
    """Set in place how many batches of the present epoch are done."""
    current = fit_loop["epoch_loop.batch_progress"]["current"]
    current.update(ready=current["ready"] - current["completed"] + batch, started=batch, processed=batch, completed=batch)
