"""Errors that end a command with an exit code of its own; anything else that a run raises ends it with 1."""

from collections.abc import Iterator


class MMKitError(Exception):
    """A failure whose message is all that the user needs; it is printed in one line, without a traceback."""

    exit_code = 1


class UsageError(MMKitError, ValueError):
    """The configuration or the command line is wrong."""

    exit_code = 2


class RefusedError(MMKitError):
    """Data, a checkpoint or an archive is missing or cannot be trusted."""

    exit_code = 3


class NonFiniteError(MMKitError):
    """A loss or a weight became NaN or infinite."""


class StoppedError(MMKitError):
    """A run stopped early after saving; it can be resumed.

    Attributes:
        reason: What asked for it, e.g. ``"SIGTERM"``.
    """

    exit_code = 75

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class InterruptedByUserError(StoppedError):
    """Ctrl-C: saved, and left."""

    exit_code = 130


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on; each once, for libraries do raise errors that are causes of each other."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type if it says nothing. Where that line announces a list, its items follow."""
    first, _, rest = str(error).strip().partition("\n")
    if first.endswith(":") and rest:
        return " ".join([first, *(line.strip().removeprefix("- ") for line in rest.splitlines())])
    return first or type(error).__name__
