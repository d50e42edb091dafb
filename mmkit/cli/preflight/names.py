"""Which name was meant."""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches

from omegaconf import DictConfig, ListConfig, OmegaConf

from mmkit.cli.preflight.walk import is_open


def closest(name: str, options: Iterable[str], cutoff: float = 0.6, by_part: bool = True) -> str | None:
    """The option that a name was most likely meant to be, or None.

    The same but for case and separators comes first, then the same letters in another order, then what looks alike, then the
    only one that begins with it or holds it.

    Args:
        name: What was written.
        options: What can be written.
        cutoff: How much alike they must look, from 0 to 1.
        by_part: Whether a part of a name stands for it.
    """
    known = {_plain(option): option for option in reversed(list(options)) if option != name}
    plain = _plain(name)
    if plain in known:
        return known[plain]
    swapped = [text for text in known if sorted(text) == sorted(plain) and plain]
    if close := swapped or get_close_matches(plain, known, n=1, cutoff=cutoff):
        return known[close[0]]
    for fits in (str.startswith, str.__contains__) if by_part and len(plain) > 1 else ():
        holding = [option for text, option in known.items() if fits(text, plain)]
        if len(holding) == 1:
            return holding[0]
    return None


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def closest_key(cfg: DictConfig, key: str, excluding: str = "") -> str | None:
    """The key of a configuration that a dotted key was most likely meant to be, or None.

    Every part is looked for in its place; then keys of which some parts were left out (``lr`` for ``task.optimizer.lr``).

    Args:
        cfg: The configuration.
        key: What was written.
        excluding: A key that is there and was not meant.
    """
    found = _corrected(cfg, key.split("."))
    if found is not None and found != excluding:
        return found
    return _shortened(key, [known for known in all_keys(cfg) if known != excluding])


def _corrected(node: object, parts: list[str]) -> str | None:
    names = _children(node)
    name = parts[0] if parts[0] in names else closest(parts[0], names, cutoff=0.7)
    if name is None or len(parts) == 1:
        return name
    rest = _corrected(names[name], parts[1:])
    return rest and f"{name}.{rest}"


def _shortened(key: str, keys: Sequence[str]) -> str | None:
    """The first of the shortest keys that a key abbreviates, if need be with a last part that is misspelt."""
    parts = key.split(".")
    found = [known for known in keys if _is_within(parts, known.split("."))]
    if not found:
        last = {known.rpartition(".")[2]: known for known in reversed(keys)}
        name = closest(parts[-1], last, cutoff=0.8, by_part=False)
        found = [known for known in keys if name and _is_within([*parts[:-1], name], known.split("."))]
    if not found and len(parts) > 1:
        same_end = [known for known in keys if known.rpartition(".")[2] == parts[-1]]
        found = get_close_matches(key, same_end, n=1, cutoff=0.6) or (same_end if len(same_end) == 1 else [])
    return min(found, key=lambda known: (known.count("."), keys.index(known)), default=None)


def _is_within(parts: Sequence[str], known: Sequence[str]) -> bool:
    """Whether parts occur in this order, the last one at the end."""
    rest = iter(known)
    return parts[-1] == known[-1] and all(part in rest for part in parts)


def similarity(name: str, other: str) -> float:
    """How much alike two names look, from 0 to 1."""
    return SequenceMatcher(None, _plain(name), _plain(other)).ratio()


def all_keys(node: object, prefix: str = "") -> list[str]:
    """Every dotted key of a configuration, as it stands: interpolations are not followed."""
    keys = []
    for name, child in _children(node).items():
        key = f"{prefix}.{name}" if prefix else name
        keys += [key, *all_keys(child, key)]
    return keys


def _children(node: object) -> dict[str, object]:
    if isinstance(node, DictConfig) and is_open(node):
        return {str(name): node._get_node(name) for name in node}
    return {}


def value_at(cfg: DictConfig, key: str) -> object:
    """The node at a dotted key, interpolations unresolved; None if there is none."""
    node: object = cfg
    for part in key.split("."):
        if isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node._get_node(int(part))
        else:
            node = _children(node).get(part)
    return node


def as_text(node: object) -> str:
    """A value as it is typed in an override."""
    plain = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig | ListConfig) else node
    if isinstance(plain, list):
        return f"[{','.join(as_text(item) for item in plain)}]"
    if plain is None or isinstance(plain, bool):
        return {None: "null", True: "true", False: "false"}[plain]
    return str(plain)
