"""Weights of hidden losses as functions of the optimizer step.

A weight is a number, or a mapping with the name of a schedule and its arguments::

    loss_weight: 1.0
    loss_weight: {schedule: linear_warmup, value: 1.0, warmup_steps: 10000}
    loss_weight: {schedule: cyclical, value: 1.0, total_steps: 100000, num_cycles: 4}
"""

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Protocol

from mmkit.hiddens.errors import ArgumentsError, HiddensError, UnknownNameError, did_you_mean, listed
from mmkit.hiddens.values import finite, whole


class Schedule(Protocol):
    """The weight at an optimizer step, counted from 0."""

    def __call__(self, step: int) -> float: ...


@dataclass(frozen=True)
class Constant:
    """The same weight at every step.

    Args:
        value: The weight.
    """

    value: float

    def __call__(self, step: int) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:g}"


@dataclass(frozen=True)
class LinearWarmup:
    """From ``start`` to ``value`` in equal steps, then ``value`` (KL annealing, Bowman et al. 2016, 1511.06349, with a line).

    w(t) = start + (value - start) · min(1, t / warmup_steps)

    Args:
        value: The weight from step ``warmup_steps`` on.
        warmup_steps: Optimizer steps.
        start: The weight at step 0.
    """

    value: float
    warmup_steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        _at_least(self, warmup_steps=1)

    def __call__(self, step: int) -> float:
        return self.start + (self.value - self.start) * min(1.0, step / self.warmup_steps)


@dataclass(frozen=True)
class Cyclical:
    """Rises from ``start`` to ``value`` in each of several cycles (Fu et al. 2019, 1903.10145, eq. 6 and 7, linear).

    w(t) = start + (value - start) · min(1, τ / ratio), τ = (t mod T/M) / (T/M), where T is ``total_steps`` and M ``num_cycles``;
    from step T on it is ``value``.

    Args:
        value: The highest weight.
        total_steps: Optimizer steps of all cycles together, T in the paper.
        num_cycles: Number of cycles, M in the paper.
        ratio: Part of a cycle in which the weight rises, R in the paper; 1 is all of it.
        start: The weight at which a cycle begins.
    """

    value: float
    total_steps: int
    num_cycles: int = 4
    ratio: float = 0.5
    start: float = 0.0

    def __post_init__(self) -> None:
        _at_least(self, num_cycles=1)
        _at_least(self, total_steps=self.num_cycles)
        if not 0 < self.ratio <= 1:
            raise HiddensError(f"ratio={self.ratio} of a cyclical schedule must be above 0 and at most 1.")

    def __call__(self, step: int) -> float:
        if step >= self.total_steps:
            return self.value
        position = step * self.num_cycles % self.total_steps / self.total_steps
        return self.start + (self.value - self.start) * min(1.0, position / self.ratio)


SCHEDULES: dict[str, type] = {"constant": Constant, "linear_warmup": LinearWarmup, "cyclical": Cyclical}


def make_schedule(weight: Any) -> Schedule:
    """The schedule that a ``loss_weight`` describes.

    Args:
        weight: A finite number, or ``schedule`` with the arguments of one of ``SCHEDULES``.

    Raises:
        UnknownNameError: There is no such schedule.
        ArgumentsError: It takes other arguments.

    Example:
        >>> make_schedule({"schedule": "linear_warmup", "value": 2.0, "warmup_steps": 4})(1)
        0.5
    """
    if not isinstance(weight, Mapping):
        return Constant(finite("loss_weight", weight, ", or a schedule"))
    arguments = dict(weight)
    name = arguments.pop("schedule", None)
    if not isinstance(name, str) or name not in SCHEDULES:
        given = f"schedule={name!r} is unknown." if name is not None else f"{dict(weight)} names no schedule."
        raise UnknownNameError(f"loss_weight: {given}{did_you_mean(name, SCHEDULES)} Schedules: {listed(SCHEDULES)}.")
    return SCHEDULES[name](**_checked(name, arguments))


def _checked(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    takes = inspect.signature(SCHEDULES[name]).parameters
    unknown = [each for each in arguments if each not in takes]
    missing = [each.name for each in fields(SCHEDULES[name]) if each.default is MISSING and each.name not in arguments]
    if unknown or missing:
        what = f"takes no {unknown[0]!r}.{did_you_mean(unknown[0], takes)}" if unknown else f"needs {listed(missing)}."
        raise ArgumentsError(f"loss_weight: the schedule {name} {what} It takes {listed(takes)}.")
    return {each: finite(f"loss_weight.{each}", value) for each, value in arguments.items()}


def _at_least(schedule: Any, **bounds: int) -> None:
    for name, bound in bounds.items():
        whole(f"loss_weight.{name}", getattr(schedule, name), bound)
