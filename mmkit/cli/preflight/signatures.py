"""What targets take, as read from source."""

from omegaconf import DictConfig

from mmkit.cli.preflight.walk import flag, is_open
from mmkit.conf import index
from mmkit.conf.reading import NoSuchModule, NoSuchName, Signature, Unreadable


def look_up(target: str) -> Signature | NoSuchModule | NoSuchName | None:
    """The signature of a target, or why there is none; None if only importing would tell."""
    try:
        return index.signature(target)
    except (NoSuchModule, NoSuchName) as error:
        return error
    except Unreadable:
        return None


def signature(target: object) -> Signature | None:
    """The signature of a target; None if it is not known for whatever reason."""
    found = look_up(target) if isinstance(target, str) else None
    return found if isinstance(found, Signature) else None


def names(found: Signature) -> list[str]:
    """The arguments that can be given by name."""
    return [parameter.name for parameter in found.parameters if parameter.nameable]


def takes_any(found: Signature) -> bool:
    """Whether there is a ``**kwargs``."""
    return any(parameter.kind == "var_keyword" for parameter in found.parameters)


def takes(node: object, name: str) -> bool:
    """Whether the target of a node is known to take an argument."""
    if not isinstance(node, DictConfig) or not is_open(node):
        return False
    found = signature(flag(node, "_target_"))
    return found is not None and (name in names(found) or takes_any(found))
