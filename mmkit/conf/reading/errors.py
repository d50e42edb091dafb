"""What reading source can answer besides a result: there is no such module or name, or it cannot be known without importing."""

from collections.abc import Callable, Iterable


class Unreadable(Exception):  # noqa: N818  # also stands as a value where a default or a type is not known
    """Only importing would tell.

    Attributes:
        reason: Why, e.g. ``"numpy.core is compiled"``.
        suspect: Makes the error that is due unless the module makes the name when it is imported; None if none is due.
    """

    def __init__(self, reason: str, suspect: "Callable[[], NoSuchModule | NoSuchName] | None" = None) -> None:
        super().__init__(reason)
        self.reason, self.suspect = reason, suspect

    @property
    def mistake(self) -> "NoSuchModule | NoSuchName | None":
        """What is wrong unless the module makes the name when it is imported; None if nothing speaks for a mistake."""
        return None if self.suspect is None else self.suspect()

    def __repr__(self) -> str:
        return f"Unreadable({self.reason!r})"


class Compiled(Unreadable):
    """A module has no source in Python."""


class NoSuchModule(LookupError):  # noqa: N818
    """A module is not on the search path.

    Attributes:
        dotted: The first part of the path that does not exist, e.g. ``torch.optimm``.
        top_level_missing: Whether it is the package itself, so that installing something may help.
        close: Similar names that exist at this place, best first.
    """

    def __init__(self, dotted: str, top_level_missing: bool, close: list[str] | None = None) -> None:
        super().__init__(f"There is no module {dotted!r}.")
        self.dotted, self.top_level_missing, self.close = dotted, top_level_missing, close or []


class NoSuchName(LookupError):  # noqa: N818
    """A module or class exists, but has no such name.

    Attributes:
        dotted: The whole path.
        owner: The part that exists, e.g. ``torch.nn``.
        close: Similar names of the owner, best first.
    """

    def __init__(self, dotted: str, owner: str, close: list[str] | None = None) -> None:
        super().__init__(f"{owner!r} has no {dotted.removeprefix(owner + '.')!r}.")
        self.dotted, self.owner, self.close = dotted, owner, close or []


def close_names(name: str, known: Iterable[str]) -> list[str]:
    """Up to three names that resemble ``name``, best first; another case counts as equal."""
    from difflib import get_close_matches  # only mistakes need it

    by_lower: dict[str, str] = {}
    for each in known:
        if not each.startswith("_") or name.startswith("_"):
            by_lower.setdefault(each.lower(), each)
    return [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]
