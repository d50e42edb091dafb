"""Windows of equal length over a long sequence, such that each of its symbols is predicted exactly once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Windows:
    """Where the windows over a sequence lie, and what each of them predicts.

    A window holds ``context`` symbols. Its first one is read only; of the others it predicts those that no window before it
    predicts. All symbols but the very first are so predicted once: the first window's after 1 to ``context`` − 1 symbols,
    all others after at least ``context`` − ``stride`` of them. The last window is moved back to end with the sequence.

    Attributes:
        length: Symbols of the sequence.
        context: Symbols of a window, 2 or more, at most ``length``.
        stride: From one window to the next, 1 to ``context`` − 1.

    Example:
        >>> windows = Windows(length=10, context=5, stride=3)
        >>> [(windows.start(i), windows.first_predicted(i)) for i in range(len(windows))]
        [(0, 1), (3, 5), (5, 8)]
    """

    length: int
    context: int
    stride: int

    def __post_init__(self) -> None:
        if not 2 <= self.context <= self.length:
            raise ValueError(f"context={self.context} must be 2 or more, and at most the {self.length} symbols that there are.")
        if not 1 <= self.stride < self.context:
            raise ValueError(f"stride={self.stride} must be 1 to {self.context - 1}: below context={self.context}.")

    def __len__(self) -> int:
        return 1 + -(-(self.length - self.context) // self.stride)

    def start(self, index: int) -> int:
        """Position of the first symbol of window ``index``."""
        return min(index * self.stride, self.length - self.context)

    def first_predicted(self, index: int) -> int:
        """Position of the first symbol that window ``index`` predicts; it predicts all that follow, too."""
        return 1 if index == 0 else (index - 1) * self.stride + self.context
