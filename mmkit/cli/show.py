"""``mmkit show``: one option of a config group: what it is, what it takes, where it is defined, and how to use it."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmkit.cli.documentation import arguments_of, documentation_of, introduction, readable_signature
from mmkit.cli.list import did_you_mean, known_group, take_part
from mmkit.cli.options import EXPERIMENTS, group_names, option_files, option_names
from mmkit.cli.output import add_json, console, show_json, show_table
from mmkit.cli.usage import first_sentence
from mmkit.cli.yaml_text import flow
from mmkit.conf.index import Entry, find
from mmkit.conf.reading import REQUIRED, Signature, Unreadable
from mmkit.conf.reading.errors import close_names
from mmkit.errors import UsageError


# Where an option of a group usually stands in a configuration.
_PLACES = {
    "dataloader/sampler": "dataloader.train.sampler",
    "datasets": "datasets.train.NAME",
    "datasets/tokenizers": "dataloader.train.collate_fn.batch_processors.text",
    "datasets/transforms": "datasets.train.NAME.transform",
    "eval_task": "task.evaluation_tasks.NAME.task",
    "modules/encoders": "task.encoders.rgb",
    "modules/layers": "task.heads.rgb",
    "modules/losses": "task.loss",
    "modules/lr_schedulers": "task.lr_scheduler.scheduler",
    "modules/optimizers": "task.optimizer",
    "trainer/callbacks": "trainer.callbacks.NAME",
    "trainer/logger": "trainer.logger.NAME",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the option and ``--json``."""
    parser.add_argument("part", metavar="GROUP/NAME", help="such as modules/losses/ContrastiveLoss")
    add_json(parser)
    parser.set_defaults(run=show)


def show(arguments: argparse.Namespace) -> None:
    """Print an option.

    Raises:
        UsageError: There is no such group, or no such option in it.
    """
    folders = take_part()
    group, name = named(arguments.part, folders)
    files = option_files(group, folders)
    entry = None if name in files else find(group, name)
    facts = _facts_of_file(group, name, files[name]) if entry is None else _facts(entry)
    if arguments.json:
        show_json(facts)
    else:
        _print(facts)


def named(part: str, folders: list[Path]) -> tuple[str, str]:
    """Group and name of an option; the group may be left out if the name tells it.

    Raises:
        UsageError: There is none; names the closest.
    """
    part = part.strip("/")
    if part in (EXPERIMENTS, *group_names(folders)):
        raise UsageError(f"{part} is a group. Its options: mmkit list {part}")
    group, _, name = part.rpartition("/")
    if part.startswith(f"{EXPERIMENTS}/"):
        group, name = EXPERIMENTS, part.removeprefix(f"{EXPERIMENTS}/")  # may be in a folder
    group = known_group(group, folders) if group else _group_of(name, folders)
    names = option_names(group, folders)
    if name in names:
        return group, name
    meant = [f"{group}/{each}" for each in close_names(name, names)]
    raise UsageError(f"{group} has no option {name!r}. {did_you_mean(meant, names)}")


def _group_of(name: str, folders: list[Path]) -> str:
    groups = [EXPERIMENTS, *group_names(folders)]
    options = {each: option_names(each, folders) for each in groups}
    holding = [group for group in groups if name in options[group]]
    if len(holding) == 1:
        return holding[0]
    if holding:
        raise UsageError(f"{name} is in several groups: {', '.join(f'{group}/{name}' for group in holding)}. Type one of them.")
    places = {option: f"{group}/{option}" for group in groups for option in options[group]}
    meant = [places[each] for each in close_names(name, places)]
    raise UsageError(f"No group has an option {name!r}. {f'Did you mean {meant[0]}?' if meant else 'All groups: mmkit list'}")


def _facts(entry: Entry) -> dict[str, Any]:
    facts: dict[str, Any] = {"group": entry.group, "name": entry.name, "target": entry.target}
    facts |= {"doc": "", "parameters": [], "defined": None, "registered": f"{entry.file}:{entry.line}"}
    found = readable_signature(entry.target)
    if found is not None:
        doc = introduction(documentation_of(found))
        facts |= {"doc": doc, "parameters": _parameters(found, entry), "defined": f"{found.file}:{found.line}"}
    place = entry.package or _place(entry.group, facts["parameters"])
    return facts | _examples(entry.group, entry.name, place, facts["parameters"])


def _place(group: str, parameters: list[dict[str, Any]]) -> str:
    """Where an option usually goes; an encoder to the modality that it reads by default."""
    modality = next((each["default"] for each in parameters if each["name"] == "modality"), None)
    if group == "modules/encoders" and modality in ("rgb", "text", "audio"):
        return f"task.encoders.{modality}"
    return _PLACES.get(group, "KEY")


def _facts_of_file(group: str, name: str, path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8", errors="replace")
    comment = [line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#") and "@package" not in line]
    facts = {
        "group": group,
        "name": name,
        "target": None,
        "doc": "\n".join(comment).strip(),
        "parameters": [],
        "defined": f"{path}:1",
    }
    typed = f"mmkit_run experiment={name}" if group == EXPERIMENTS else f"mmkit_run experiment=NAME +{group}={name}"
    return facts | {"command": typed, "yaml": f"- {name}" if group == EXPERIMENTS else f"- /{group}: {name}"}


def _parameters(found: Signature, entry: Entry) -> list[dict[str, Any]]:
    """What can be configured: not what the caller of a partial gives, such as an optimizer's parameters."""
    docs, values = arguments_of(found), entry.values
    return [
        {
            "name": each.name,
            "type": each.annotation or None,
            "default": default_of(values.get(each.name, each.default)),
            "required": each.name not in values and each.required,
            "set_by_preset": each.name in values,
            "doc": docs.get(each.name, ""),
        }
        for each in found.fields()
        if each.name not in (entry.supplied or ())
    ]


def default_of(value: Any) -> Any:
    """A default as JSON holds it; what is no plain value as text."""
    if value is REQUIRED:
        return None
    if isinstance(value, Unreadable):
        return "computed"
    if isinstance(value, list | tuple):
        return [default_of(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str | dict) else str(value)


def _examples(group: str, name: str, place: str, parameters: list[dict[str, Any]]) -> dict[str, str]:
    """How an option is chosen, and one of its arguments set, on the command line and in YAML."""
    if group == "task":
        typed, written, place = f"task={name}", f"- override /task: {name}", "task"
    else:
        typed, written = f"{group}@{place}={name}", f"- /{group}@{place}: {name}"
    example = next((each for each in parameters if isinstance(each["default"], bool | int | float | str)), None)
    argument = "" if example is None else f" {place}.{example['name']}={_another(example['default'])}"
    return {"command": f"mmkit_run experiment=NAME {typed}{argument}", "yaml": written}


def _another(value: Any) -> str:
    """A value to set: the other one of two, otherwise the default, to be changed."""
    return flow(not value if isinstance(value, bool) else value)


def _print(facts: dict[str, Any]) -> None:
    out = console()
    out.print(f"{facts['group']}/{facts['name']}", style="bold")
    if facts["doc"]:
        print()
        out.print(facts["doc"], soft_wrap=False)
    if facts["target"] and not facts["defined"]:
        out.print("\nWhat it takes is not known without importing it.")
    if facts["parameters"]:
        print()
        rows = [(each["name"], each["type"], _shown(each), first_sentence(each["doc"])) for each in facts["parameters"]]
        show_table(("argument", "type", "default", "what it is"), rows)
    print()
    for title, line in _lines(facts):
        out.print(f"{title:<14}{line}")


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where it is, and what to type and to write."""
    if facts["target"]:
        yield "target", facts["target"]
    if facts["defined"]:
        yield "defined", short_place(facts["defined"])
    if facts.get("registered"):
        yield "registered", short_place(facts["registered"])
    yield "command line", facts["command"]
    if "@" in facts["command"]:
        yield "", "(with a + before the group, if the experiment has none there yet)"
    yield "in YAML", facts["yaml"]


def _shown(parameter: dict[str, Any]) -> str:
    if parameter["required"]:
        return "(to be given)"
    return flow(parameter["default"]) + (" (preset)" if parameter["set_by_preset"] else "")


def short_place(place: str) -> str:
    """A file and line, relative where it is below the current directory."""
    relative = os.path.relpath(place)
    return place if relative.startswith("..") else relative
