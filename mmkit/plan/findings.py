"""What a plan finds: mismatches, and what it could not find out."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Mismatch:
    """Two parts of a configuration that do not fit together.

    Attributes:
        key: The configuration key where it shows.
        message: One or two lines that name both keys and both values.
    """

    key: str
    message: str


@dataclass
class Findings:
    """Collected while a plan is made.

    Attributes:
        mismatches: What would make the run fail; each key and message once.
        unknowns: What the plan could not follow, and how to help it.
        assumptions: What it took for granted.
    """

    mismatches: list[Mismatch] = field(default_factory=list)
    unknowns: list[str] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)

    def mismatch(self, key: str, message: str) -> None:
        found = Mismatch(key, message)
        if found not in self.mismatches:
            self.mismatches.append(found)

    def unknown(self, message: str) -> None:
        if message not in self.unknowns:
            self.unknowns.append(message)

    def assume(self, message: str) -> None:
        if message not in self.assumptions:
            self.assumptions.append(message)


class BrokenError(Exception):
    """Raised, after the reason was noted, by a part that cannot go on."""
