"""What a key means in the configuration of an experiment, whose parts decide which keys there are."""

from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from mmkit.cli.documentation import arguments_of, documentation_of, introduction, readable_signature
from mmkit.cli.key_docs import KeyDoc, described, of_base, unknown
from mmkit.cli.preflight import compose_to_read
from mmkit.cli.usage import first_sentence
from mmkit.cli.yaml_text import flow
from mmkit.conf.projects import find_projects
from mmkit.conf.reading.errors import close_names
from mmkit.errors import UsageError


def of_experiment(key: str, experiment: str) -> KeyDoc:
    """What a key means in an experiment, with the value that it has there.

    Raises:
        UsageError: There is no such experiment or key.
    """
    known = [name for project in find_projects() for name in project.experiments()]
    if experiment not in known:  # `--experiment` was typed, not `+experiment=`, which the check would tell to type
        close = close_names(experiment, known)
        raise UsageError(
            f"There is no experiment {experiment!r}. {f'Did you mean {close[0]}?' if close else 'mmkit list --projects'}"
        )
    composed = compose_to_read([f"+experiment={experiment}"])
    with composed.resolving() as cfg:
        found = _found(cfg, key)
        value = OmegaConf.select(cfg, key)
    if not OmegaConf.is_config(value):
        found.default = flow(value)
    return found


def _found(cfg: DictConfig, key: str) -> KeyDoc:
    reader, argument, node = "", "", cfg
    parts = key.split(".")
    for index, part in enumerate(parts):
        names = _names(node)
        if part not in names:
            raise unknown(parts[:index], part, names)
        if target := _target(node):
            reader, argument = target, part
        node = _below(node, part)
    if _target(node):
        return _of_part(key, str(_target(node)), node)
    owner = readable_signature(reader) if reader and not reader.startswith(("torch.utils", "lightning")) else None
    found = described(key, owner, argument) if owner is not None else of_base(key) or KeyDoc(key, read_by=reader)
    if argument and argument != parts[-1] and found.doc:
        found.type, found.doc = "", f"In {argument}: {found.doc}"
    if isinstance(node, DictConfig) and not found.keys:
        found.keys = dict.fromkeys(_names(node), "")
    return found


def _of_part(key: str, target: str, node: Any) -> KeyDoc:
    """A component: what it is, and what its arguments are."""
    owner = readable_signature(target)
    if owner is None:
        return KeyDoc(key, read_by=target, keys=dict.fromkeys(_names(node), ""))
    docs = arguments_of(owner)
    keys = {name: first_sentence(docs.get(name, "")) for name in _names(node)}
    doc = introduction(documentation_of(owner))
    return KeyDoc(key, doc=doc, read_by=owner.target, defined=f"{owner.file}:{owner.line}", keys=keys)


def _names(node: Any) -> list[str]:
    if isinstance(node, ListConfig):
        return [str(index) for index in range(len(node))]
    return [str(name) for name in node if not str(name).startswith("_")] if isinstance(node, DictConfig) else []


def _below(node: Any, part: str) -> Any:
    """What a key holds; None for what is missing or does not resolve."""
    try:
        return OmegaConf.select(node, part)
    except Exception:  # whatever a resolver raises: the check before a run tells it
        return None


def _target(node: Any) -> str | None:
    return node.get("_target_") if isinstance(node, DictConfig) else None
