"""Values of a composed configuration: what is missing, what does not resolve, what nothing reads."""

import dataclasses
import os
import re
from collections.abc import Iterable
from pathlib import Path

from omegaconf import Container, DictConfig, Node, OmegaConf
from omegaconf.errors import (
    GrammarParseError,
    InterpolationKeyError,
    InterpolationToMissingValueError,
    InterpolationValidationError,
    UnsupportedInterpolationType,
)

from mmkit.cli.composing import Composed
from mmkit.cli.preflight.mistakes import Mistake
from mmkit.cli.preflight.names import closest, closest_key, value_at
from mmkit.cli.preflight.origins import Origins
from mmkit.cli.preflight.types import explained
from mmkit.cli.preflight.walk import Visit, is_open
from mmkit.conf.projects import used_projects
from mmkit.errors import first_line


_FILLED = re.compile(r"dataloader\.\w+\.dataset")  # from `datasets`
_JOB_TYPES = ("train", "eval")


def missing(visit: Visit) -> Mistake | None:
    """A ``???`` that nobody fills."""
    if not visit.node._is_missing() or _FILLED.fullmatch(visit.key):
        return None
    return Mistake("MM302", visit.key, "the value is missing.", f"{visit.key}=VALUE")


def unresolved(visit: Visit, cfg: DictConfig, origins: Origins) -> Mistake | None:
    """An interpolation that does not resolve, or to a value that does not fit."""
    if not visit.node._is_interpolation():
        return None
    try:
        visit.node._dereference_node()
    except InterpolationToMissingValueError:
        return None  # the ??? itself is told
    except Exception as error:  # whatever a resolver raises
        return _told(visit, error, cfg, origins)
    return None


def _told(visit: Visit, error: Exception, cfg: DictConfig, origins: Origins) -> Mistake | None:
    text = str(visit.node._value())
    place, typed = _written(visit.key, origins)
    subject = typed or visit.key
    if isinstance(error, InterpolationValidationError):
        return Mistake("MM301", subject, f"{text}: {explained(error)[0]}", place=place)
    if isinstance(error, InterpolationKeyError):
        return _unknown_reference(subject, text, error, cfg, place, bool(typed))
    if isinstance(error, UnsupportedInterpolationType):
        return _unknown_resolver(subject, text, error, place)
    if isinstance(error, GrammarParseError):
        what = f"{text} is not in the grammar of interpolations: ${{key}} or ${{resolver:argument}}."
        return Mistake("MM303", subject, what, place=place)
    return _failed(subject, text, error, place)


def _written(key: str, origins: Origins) -> tuple[str, str]:
    """The line and the argument that have set a key; one of them is empty."""
    typed = origins.typed(key)
    return ("", typed) if typed and "$" in typed else (origins.place(key), "")


def _unknown_reference(subject: str, text: str, error: Exception, cfg: DictConfig, place: str, is_typed: bool) -> Mistake:
    match = re.search(r"Interpolation key '([^']+)' not found", str(error))
    reference = match[1] if match else text.strip("${}")
    meant = None if reference.startswith(".") else closest_key(cfg, reference)
    better = text.replace(reference, meant) if meant else ""
    if better and is_typed:
        better = f"'{subject.replace(reference, meant or '')}'"
    return Mistake("MM303", subject, f"{text} does not resolve: there is no key {reference!r}.", better, place=place)


def _unknown_resolver(subject: str, text: str, error: Exception, place: str) -> Mistake | None:
    match = re.search(r"Unsupported interpolation type (\S+)", str(error))
    name = match[1] if match else ""
    if _is_registered_by_a_project(name):
        return None
    known = ["oc.env", "oc.select", "oc.create", "oc.decode", "oc.dict.keys", "oc.dict.values", "oc.deprecated", "hydra", "now"]
    known += ["mmkit.run_dir", "python_version"]
    meant = closest({"env": "oc.env"}.get(name, name), known) if name != "env" else "oc.env"
    better = text.replace(f"{name}:", f"{meant}:") if meant else ""
    return Mistake("MM303", subject, f"{text} does not resolve: there is no resolver {name!r}.", better, place=place)


def _is_registered_by_a_project(name: str) -> bool:
    """Whether a module of a project, which is not imported before the run starts, mentions a resolver of this name."""
    quoted = (f'"{name}"', f"'{name}'")
    for project in used_projects():
        for path in Path(project.configs).parent.rglob("*.py"):
            source = path.read_text(encoding="utf-8", errors="replace")
            if "register_new_resolver" in source and any(text in source for text in quoted):
                return True
    return False


def _failed(subject: str, text: str, error: Exception, place: str) -> Mistake:
    match = re.search(r"Environment variable '([^']*)' not found", str(error))
    if match is None:
        return Mistake("MM303", subject, f"{text} does not resolve: {first_line(error)}", place=place)
    meant = closest(match[1], os.environ, cutoff=0.85, by_part=False)
    better = text.replace(f"oc.env:{match[1]}", f"oc.env:{meant}") if meant else f"${{oc.env:{match[1]},DEFAULT}}"
    what = f"the environment variable {match[1]} is not set."
    return Mistake("MM304", subject, what, better, f"Or set it: export {match[1]}=VALUE", place)


def references(values: Iterable[str]) -> set[str]:
    """All keys that interpolations name, and all above them."""
    found: set[str] = set()
    for text in values:
        for reference in re.findall(r"\$\{\s*([A-Za-z_][\w.\[\]]*)\s*\}", text) + re.findall(
            r"oc\.\w+(?:\.\w+)*:\s*([\w.]+)", text
        ):
            parts = reference.replace("[", ".").replace("]", "").split(".")
            found |= {".".join(parts[: index + 1]) for index in range(len(parts))}
    return found


def unread(visit: Visit, cfg: DictConfig, origins: Origins, referenced: set[str]) -> Mistake | None:
    """A key that was added where the keys are fixed, and that no interpolation names."""
    parent = visit.parent
    if not isinstance(parent, DictConfig) or "_target_" in parent or visit.key in referenced:
        return None
    kind = parent._metadata.object_type
    if kind is None or kind is dict or not dataclasses.is_dataclass(kind):
        return None
    fields = [field.name for field in dataclasses.fields(kind)]
    prefix, _, name = visit.key.rpartition(".")
    if name in fields:
        return None
    typed = origins.typed(visit.key)
    meant = closest(name, fields, cutoff=0.7)
    full = f"{prefix}.{meant}" if prefix and meant else meant
    if full is None:
        full = closest_key(cfg, visit.key, excluding=visit.key)
    suggestion = f"{full}={typed.partition('=')[2]}" if full and typed else f"{full}" if full else ""
    advice = "" if suggestion else f"{prefix or 'The top'} has: {', '.join(field for field in fields if field != 'defaults')}."
    place = "" if typed else origins.place(visit.key)
    return Mistake("MM205", typed or visit.key, "nothing reads this key.", suggestion, advice, place)


def nameless(visit: Visit, origins: Origins) -> Mistake | None:
    """A group of settings without a ``_target_`` beside a component of almost the same name, whose settings they are."""
    parent, node = visit.parent, visit.node
    if (
        not (isinstance(parent, DictConfig) and isinstance(node, DictConfig))
        or "_target_" in parent
        or _component(node) is not None
    ):
        return None
    if is_open(node) and len(node):
        prefix, _, name = visit.key.rpartition(".")
        kind = OmegaConf.get_type(parent)
        if kind is not None and dataclasses.is_dataclass(kind):
            return None
        siblings = {str(key): parent._get_node(key) for key in parent if str(key) != name}
        components = {key: below for key, other in siblings.items() if (below := _component(other)) is not None}
        meant = closest(name, components, cutoff=0.75)
        if meant is not None and set(map(str, node)) <= set(map(str, siblings[meant])):  # pyright: ignore[reportArgumentType]
            place = origins.place(visit.key)
            full = f"{prefix}.{meant}"
            typed = origins.typed_below(visit.key) or ""
            return Mistake(
                "MM205",
                typed or visit.key,
                "there is no component of this name: these settings have no _target_.",
                typed.replace(visit.key, full).lstrip("+") if typed else meant,
                place="" if typed else place,
            )
    return None


def named_by_key(composed: Composed, origins: Origins) -> Iterable[Mistake]:
    """The name of an option where its configuration should be: ``task.loss=ContrastiveLoss``."""
    for choice, option in composed.choices.items():
        group, _, package = choice.partition("@")
        node = value_at(composed.cfg, package or group.replace("/", "."))
        value = node._value() if isinstance(node, Node) and not isinstance(node, Container) else None
        if option is None or not isinstance(value, str) or "${" in value or value == "???":
            continue
        options = origins.sources.options(group)
        meant = value if value in options else closest(value, options)
        typed = origins.typed(package)
        suggestion = "" if meant is None else f"{choice}={meant}" if typed else f"- override /{choice}: {meant}"
        place = "" if typed else origins.place(package)
        yield Mistake(
            "MM301", typed or package, f"{package} is a component: its option is chosen by its group.", suggestion, "", place
        )


def _component(node: object) -> str | None:
    """Where the ``_target_`` of an entry is: in itself, or in its ``task``."""
    if not isinstance(node, DictConfig) or not is_open(node):
        return None
    if "_target_" in node:
        return ""
    return "task" if _component(node._get_node("task", validate_access=False)) == "" else None


def not_allowed(cfg: DictConfig, origins: Origins) -> Iterable[Mistake]:
    """Values that a run would refuse before it builds anything."""
    job_type = cfg._get_node("job_type", validate_access=False)
    if (
        job_type is not None
        and isinstance(value := job_type._value(), str)
        and "$" not in value
        and value not in (*_JOB_TYPES, "???")
    ):  # pyright: ignore
        meant = closest(value, _JOB_TYPES, cutoff=0.5)
        typed = origins.typed("job_type")
        suggestion = (f"job_type={meant}" if typed else f"job_type: {meant}") if meant else ""
        yield Mistake(
            "MM305",
            typed or "job_type",
            f"{value!r} is not allowed: it is train or eval.",
            suggestion,
            place="" if typed else origins.place("job_type"),
        )
