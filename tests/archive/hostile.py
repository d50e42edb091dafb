"""Files that want something else than to be restored: every one must be refused, with a reason, before anything happens.

Each is a good archive with one thing changed. ``$CANARY`` in a payload is a path that a payload would create if it ran.
"""

from dataclasses import dataclass

from tests.archive.hostile_configs import key_files, path_files, target_files, yaml_files
from tests.archive.hostile_members import manifest_files, pickle_files, tar_files, weight_files


@dataclass(frozen=True)
class Hostile:
    """A file and a part of the reason for which it must be refused."""

    name: str
    data: bytes
    reason: str


MAKERS = (target_files, key_files, yaml_files, path_files, tar_files, manifest_files, pickle_files, weight_files)


def hostile_files() -> list[Hostile]:
    """All of them; each name begins with its kind."""
    return [Hostile(f"{maker.__name__[:-6]}: {name}", data, reason) for maker in MAKERS for name, data, reason in maker()]
