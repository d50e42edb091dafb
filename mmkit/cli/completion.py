"""Completion of ``mmkit_run`` in a shell, with the protocol of Hydra: ``mmkit_run -sc query=bash`` and the line in ``COMP_LINE``.

What Hydra's own answers take is composing; here the keys of a composed configuration are kept from one answer to the next
(:mod:`mmkit.cli.completion_keys`). Installing stays Hydra's: ``eval "$(mmkit_run -sc install=bash)"``.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmkit.cli.completion_keys import Keys, keys_of
from mmkit.cli.options import EXPERIMENTS, config_folders, option_names
from mmkit.cli.shipped import shipped_configs
from mmkit.conf.groups import GROUP_MODULES
from mmkit.conf.projects import Project, find_projects, search_path, use


FLAGS = (
    "--help",
    "--cfg",
    "--info",
    "--multirun",
    "--resolve",
    "--package",
    "--config-dir",
    "--config-name",
    "--resume",
    "--hydra-help",
)
_FLAG_VALUES = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
_FLAG_VALUES |= {"-c": _FLAG_VALUES["--cfg"], "-i": _FLAG_VALUES["--info"]}
# Keys whose type is text, but which take a few values only.
_KNOWN_VALUES = {
    "job_type": ("train", "eval"),
    "trainer.accelerator": ("auto", "cpu", "gpu", "mps", "tpu"),
    "trainer.precision": ("16-mixed", "32-true", "bf16-mixed", "bf16-true"),
    "trainer.gradient_clip_algorithm": ("norm", "value"),
    "exp_manager.checkpoint_callback_params.mode": ("min", "max"),
    "exp_manager.early_stopping_callback_params.mode": ("min", "max"),
}
# The shells expand what they are given: nothing with `$`, quotes, brackets or blanks.
_SAFE = re.compile(r"[\w./@:=,+~-]+", re.ASCII)


def is_query(arguments: Sequence[str]) -> bool:
    """Whether a shell asks for completions."""
    return len(arguments) == 2 and arguments[0] in ("-sc", "--shell-completion") and arguments[1].startswith("query=")


def answer_query(arguments: Sequence[str]) -> None:
    """Print the completions of ``COMP_LINE``. Whatever fails, the shell gets nothing rather than a trace."""
    found: list[str] = []
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception):
        found = completions(os.environ["COMP_LINE"], _cursor())
    print(("\n" if arguments[1] == "query=fish" else " ").join(found))


def _cursor() -> int | None:
    given = os.environ.get("COMP_POINT", "")
    return int(given) if given.isdigit() else None


def completions(line: str, cursor: int | None = None) -> list[str]:
    """What the word at the cursor can become, sorted.

    Args:
        line: The whole line, with the command.
        cursor: Characters before the cursor; default: the end of the line.
    """
    before, after = line[:cursor].split(), line[len(line[:cursor]) :].split()
    is_new = not before or line[:cursor][-1:].isspace()
    word = "" if is_new else before[-1]
    others = [*before[1 : None if is_new else -1], *(after if is_new else after[1:])]
    found = [each for each in _Completer(others).all(word, before) if each.startswith(word) and _SAFE.fullmatch(each)]
    return sorted(set(found))


class _Completer:
    """Completes a word, given the other words of the line."""

    def __init__(self, others: Sequence[str]) -> None:
        overrides = [word for word in others if "=" in word and not word.startswith("-")]
        self.overrides = [f"+{word}" if word.startswith("experiment=") else word for word in overrides]
        self.projects: list[Project] = find_projects()

    def all(self, word: str, before: Sequence[str]) -> Iterable[str]:
        previous = before[-1] if word == "" else (before[-2] if len(before) > 1 else "")
        if previous in _FLAG_VALUES:
            return _FLAG_VALUES[previous]
        if word.startswith("-"):
            return FLAGS
        if "=" in word:
            name, _, value = word.partition("=")
            return [f"{name}={each}" for each in self._values(name, value)]
        sign = re.match(r"[+~]*", word)[0]  # pyright: ignore[reportOptionalSubscript]
        rest = word[len(sign) :]
        keys = [] if sign == "+" else self._key_parts(rest)  # a + adds what is not there yet
        return [sign + each for each in (*self._groups(rest), *keys)]

    # What stands before the `=`.

    def _groups(self, word: str) -> list[str]:
        """Groups, up to the next slash; those in use with the place that they are used in."""
        in_use = [f"{name}=" for name in self.keys.choices]
        if "@" in word:
            return in_use
        used_groups = {name.partition("@")[0] for name in in_use}
        parts = [f"{group}@" for group in {*GROUP_MODULES} - used_groups]  # they need a place; files bring their own
        names = [*in_use, *parts, *(f"{group}=" for group in _groups_of_files(self.folders)), f"{EXPERIMENTS}="]
        return [_up_to(name, word, "/") for name in names if name.startswith(word)]

    def _key_parts(self, word: str) -> list[str]:
        """Keys, up to the next dot; Hydra's own (`_target_`) only if they are begun."""
        found = [_up_to(f"{key}=", word, ".") for key in self.keys.values if key.startswith(word)]
        return [each for each in found if not each[word.rfind(".") + 1 :].startswith("_") or word.endswith("_")]

    # What stands behind it.

    def _values(self, name: str, value: str) -> Iterable[str]:
        key = name.lstrip("+~")
        if value.startswith((".", "/", "~")):
            return _files(value)
        if key == EXPERIMENTS:
            known = [each for project in self.projects for each in project.experiments()]
            named = value.rpartition(",")[0]  # several, for a sweep
            return [f"{named},{each}" if named else each for each in known]
        group = key.partition("@")[0]
        if "@" in key or "/" in key or key in self.keys.choices or key in GROUP_MODULES or key in _groups_of_files(self.folders):
            self._let_projects_take_part()
            return option_names(group, self.folders)
        return _KNOWN_VALUES.get(key) or self.keys.values.get(key, ())

    @property
    def keys(self) -> Keys:
        if not hasattr(self, "_keys"):
            self._keys = keys_of(self.overrides, [*search_path(self.overrides, self.projects), *shipped_configs()])
        return self._keys

    @property
    def folders(self) -> list[Path]:
        return config_folders(self.projects)

    def _let_projects_take_part(self) -> None:
        if not search_path(self.overrides, self.projects):
            for project in self.projects:
                use(project)


def _groups_of_files(folders: Iterable[Path]) -> set[str]:
    found = {path.parent.relative_to(folder).as_posix() for folder in folders for path in folder.glob("*/*.yaml")}
    return found - {EXPERIMENTS}


def _up_to(name: str, word: str, separator: str) -> str:
    """A name up to the separator that follows what is typed already."""
    end = name.find(separator, len(word))
    return name if end < 0 or ((at := name.find("@")) >= 0 and separator == "/" and at < end) else name[: end + 1]


def _files(value: str) -> list[str]:
    """Files whose path begins so; folders with a slash."""
    folder, _, start = value.rpartition("/")
    try:
        entries = sorted(os.scandir(os.path.expanduser(folder) or "/"), key=lambda entry: entry.name)
    except OSError:
        return []
    prefix = f"{folder}/" if "/" in value else ""
    return [f"{prefix}{entry.name}{'/' if entry.is_dir() else ''}" for entry in entries if entry.name.startswith(start)]


if __name__ == "__main__":
    answer_query(sys.argv[1:])
