"""How fast training is, and how long it will take."""

import math
from collections import deque

from lightning.pytorch import Trainer


_WINDOW_SECONDS = 10.0


class Pace:
    """Counts samples, and remembers when.

    Attributes:
        num_samples: Samples so far, on this rank.
    """

    def __init__(self) -> None:
        self.num_samples = 0
        self._marks: deque[tuple[float, int]] = deque()  # time without pauses, and samples
        self._paused_since: float | None = None
        self._paused_seconds = 0.0
        self._began: tuple[float, int] | None = None  # time and step

    def mark(self, now: float, step: int) -> None:
        """Note how far training is at a time, so that ``samples_per_second`` can tell of the last ten seconds."""
        if self._began is None:
            self._began = (now, step)
        now -= self._paused_seconds
        self._marks.append((now, self.num_samples))
        while len(self._marks) > 2 and now - self._marks[1][0] >= _WINDOW_SECONDS:
            self._marks.popleft()

    def pause(self, now: float) -> None:
        """Leave out of the samples per second the time until ``go_on``, e.g. of a validation."""
        self._paused_since = now

    def go_on(self, now: float) -> None:
        if self._paused_since is not None:
            self._paused_seconds += now - self._paused_since
            self._paused_since = None

    def samples_per_second(self) -> float | None:
        """Of the last seconds; None if that is not known."""
        if len(self._marks) < 2:
            return None
        (then, before), (now, samples) = self._marks[0], self._marks[-1]
        return (samples - before) / (now - then) if now > then and samples > before else None

    def seconds_left(self, now: float, step: int, total: float | None) -> float | None:
        """Until the last step, if everything goes on as since the first one, validations included; None if not known."""
        if self._began is None or total is None or step <= self._began[1]:
            return None
        return max(0.0, total - step) * (now - self._began[0]) / (step - self._began[1])


def total_steps(trainer: Trainer) -> float | None:
    """Optimizer steps at which training ends; None if only the user knows."""
    ends = [float(trainer.max_steps)] if trainer.max_steps > 0 else []
    if (trainer.max_epochs or -1) > 0 and math.isfinite(trainer.num_training_batches):
        accumulated = trainer.accumulate_grad_batches
        ends.append(trainer.max_epochs * math.ceil(trainer.num_training_batches / accumulated))  # pyright: ignore
    return min(ends, default=None)


def clock(seconds: float) -> str:
    """A time to go.

    Example:
        >>> [clock(41), clock(725), clock(3 * 3600 + 62), clock(200_000)]
        ['0:41', '12:05', '3:01:02', '2 days 7:33:20']
    """
    days, rest = divmod(round(seconds), 86400)
    hours, minutes, rest = rest // 3600, rest % 3600 // 60, rest % 60
    told = f"{hours}:{minutes:02}:{rest:02}" if hours or days else f"{minutes}:{rest:02}"
    return f"{days} day{'s' * (days > 1)} {told}" if days else told
