"""``mmkit_run experiment=NAME --help``: the configuration that would run, resolved, and where each part of it comes from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mmkit.cli.composing import Composed
from mmkit.cli.options import folders_of, option_names
from mmkit.cli.output import console
from mmkit.cli.usage import print_usage
from mmkit.cli.yaml_text import flow, scalar
from mmkit.conf.projects import Project


MAX_NAMED = 54  # characters of all names of a group's options; of more, only the number is told
_FILLED = {f"dataloader.{split}.dataset": f"filled from datasets.{split}" for split in ("train", "val", "test")}


def print_preview(composed: Composed) -> None:
    """Print a composed configuration as YAML; all that is no configuration stands in comments."""
    with composed.resolving() as cfg:
        body = "\n".join(lines_of(cfg))
    text = f"{body}\n\n{chr(10).join(options_in_use(composed))}"
    out = console()
    if not out.is_terminal:
        print(text)
        return
    from rich.syntax import Syntax  # with pygments: not where nothing is coloured

    out.print(Syntax("", "yaml", theme="ansi_dark", background_color="default").highlight(text))


def print_help(projects: Sequence[Project]) -> None:
    """Print what ``--help`` tells when no experiment is named."""
    print_usage(projects)
    print(_FLAGS, end="")


_FLAGS = """
Flags
  --help, -h           the configuration of the experiment named beside it, and its options
  --cfg job|hydra|all  the configuration as it is written, without comments; --resolve, --package KEY
  --info WHAT          defaults, defaults-tree, config, searchpath, plugins
  --multirun, -m       a run for every combination of values: key=a,b
  --resume DIR         go on with a run; or: mmkit runs resume DIR
  --hydra-help         everything else that Hydra can do
"""


def lines_of(cfg: DictConfig) -> list[str]:
    """A configuration as lines of YAML.

    Interpolations are replaced by what they come to, with their text as a comment; those that do not resolve stay as they are
    written, as do those that name environment variables, which may hold secrets. Missing values are marked.
    """
    return list(_Writer(cfg).mapping(OmegaConf.to_container(cfg), "", 0))  # pyright: ignore[reportArgumentType]


class _Writer:
    """Writes containers of plain values; ``cfg`` is asked what an interpolation comes to."""

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg = cfg

    def mapping(self, values: Mapping[Any, Any], prefix: str, depth: int, is_reference: bool = False) -> Iterator[str]:
        for name, value in values.items():
            key = f"{prefix}.{name}" if prefix else str(name)
            yield from self._item(f"{'  ' * depth}{scalar(name)}:", value, key, depth, is_reference)

    def sequence(self, values: Sequence[Any], prefix: str, depth: int, is_reference: bool) -> Iterator[str]:
        for index, value in enumerate(values):
            yield from self._item(f"{'  ' * depth}-", value, f"{prefix}[{index}]", depth, is_reference)

    def _item(self, start: str, value: Any, key: str, depth: int, is_reference: bool) -> Iterator[str]:
        value, comment = self._resolved(value, key, is_reference)
        note = f"  # {comment}" if comment else ""
        is_reference = is_reference or bool(comment)
        is_list_item = start.endswith("-")
        if isinstance(value, dict) and value and not (is_list_item and _fits(value)):
            yield f"{start}{note}"
            yield from self.mapping(value, key, depth + 1, is_reference)
        elif isinstance(value, list) and not _fits(value):
            yield f"{start}{note}"
            yield from self.sequence(value, key, depth + 1, is_reference)
        else:
            yield f"{start} {flow(value)}{note}"

    def _resolved(self, value: Any, key: str, is_reference: bool) -> tuple[Any, str]:
        """A value, and a comment on it."""
        if value == "???":
            return value, _FILLED.get(key) or f"missing: give {key}=VALUE"
        if not isinstance(value, str) or "${" not in value or "oc.env" in value:
            return value, ""
        try:
            found = OmegaConf.select(self.cfg, key)
        except Exception:  # whatever a resolver of a project's raises: the check before a run tells it
            return value, ""
        if OmegaConf.is_config(found):
            # one level of references is followed: they may come back to themselves
            return (value, "") if is_reference else (OmegaConf.to_container(found), value)
        return found, value


def _fits(value: Any) -> bool:
    """Whether a list, or a dict in a list, is short enough for one line and has nothing to be commented on."""
    text = flow(value)
    return len(text) <= 72 and "${" not in text and "???" not in text and not (isinstance(value, list) and "{" in text)


def options_in_use(composed: Composed) -> list[str]:
    """Comments with the option of every group in use, as it would be typed, and which or how many others there are."""
    chosen = {group: option for group, option in composed.choices.items() if option and not group.startswith("hydra/")}
    names = list(reversed(chosen))  # Hydra has the last first
    groups = dict.fromkeys(name.partition("@")[0] for name in names)
    lines = ["# Parts in use. Type one with another option to exchange it."]
    lines += [f"#   {name}={chosen[name]}" for name in names]
    lines += ["#", "# Options"]
    width = max((len(group) for group in groups), default=0)
    folders = folders_of(element.path or "" for element in composed.loader.config_search_path.get_path())
    for group in groups:
        options = option_names(group, folders)
        named = ", ".join(options)
        if len(named) > MAX_NAMED:
            named = f"{len(options)}: mmkit list {group}"
        lines.append(f"#   {group:<{width}}  {named}")
    return [*lines, "#", "# More: mmkit show GROUP/NAME (a part), mmkit docs KEY (a key)"]
