"""A composed configuration, node by node."""

from collections.abc import Iterator
from dataclasses import dataclass

from omegaconf import Container, DictConfig, ListConfig, Node


@dataclass
class Visit:
    """A node and where it is.

    Attributes:
        key: Its dotted key, with list items as ``key[0]``.
        node: The node itself; interpolations are not followed.
        parent: The container that it is in.
        is_built_by_parent: Whether Hydra builds it together with what is around it; with ``_recursive_: false`` around it, the
            component there does, and may add arguments.
    """

    key: str
    node: Node
    parent: Container | None
    is_built_by_parent: bool = True


def walk(cfg: DictConfig) -> Iterator[Visit]:
    """Every node below the top."""
    yield from _below(cfg, "", True)


def _below(node: Node, prefix: str, is_built: bool) -> Iterator[Visit]:
    if not is_open(node):
        return
    if isinstance(node, DictConfig):
        is_built = is_built and flag(node, "_recursive_") is not False
        children = [(f"{prefix}.{name}" if prefix else str(name), node._get_node(name)) for name in node]
    elif isinstance(node, ListConfig):
        children = [(f"{prefix}[{index}]", node._get_node(index)) for index in range(len(node))]
    else:
        return
    for key, child in children:
        if isinstance(child, Node):
            yield Visit(key, child, node, is_built)
            yield from _below(child, key, is_built)


def flag(node: DictConfig, name: str) -> object:
    """The plain value of one of Hydra's keywords in a node; None if it is not there."""
    child = node._get_node(name, validate_access=False)
    return child._value() if isinstance(child, Node) else None


def is_open(node: object) -> bool:
    """Whether a node is a container with content of its own."""
    return isinstance(node, DictConfig | ListConfig) and not (node._is_none() or node._is_missing() or node._is_interpolation())
