"""Mistakes in the choice of options: what was typed for groups, and defaults lists."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from hydra.core.default_element import ConfigDefault, GroupDefault, InputDefault
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException

from mmkit.cli.preflight.arguments import parsed
from mmkit.cli.preflight.mistakes import Mistake
from mmkit.cli.preflight.names import closest
from mmkit.cli.preflight.sources import Sources


@dataclass
class Item:
    """An item of a defaults list."""

    config_path: str
    default: InputDefault

    @property
    def group(self) -> str:
        """The group whose option it names."""
        name = self._name()
        folder = self.config_path.rpartition("/")[0]
        full = name.lstrip("/") if name.startswith("/") or not folder else f"{folder}/{name}"
        return full if isinstance(self.default, GroupDefault) else full.rpartition("/")[0]

    @property
    def option(self) -> str:
        """The option that it names."""
        value = self.default.value if isinstance(self.default, GroupDefault) else self._name().rpartition("/")[2]
        return str(value)

    @property
    def key(self) -> str:
        """How the choice is overridden, e.g. ``modules/losses@task.loss``."""
        package = self.default.package
        return f"{self.group}@{package}" if package and package != self.group.replace("/", ".") else self.group

    def text(self, group: str | None = None, option: str | None = None, override: bool | None = None) -> str:
        """The item as it is written, with something changed."""
        option = option or self.option
        if isinstance(self.default, ConfigDefault):
            return (
                f"- {option}" if not self.default.path or "/" not in self.default.path else f"- /{group or self.group}/{option}"
            )
        keyword = self.default.override if override is None and isinstance(self.default, GroupDefault) else override  # pyright: ignore
        package = f"@{self.default.package}" if self.default.package else ""
        return f"- {'override ' if keyword else ''}/{group or self.group}{package}: {option}"

    def _name(self) -> str:
        name = self.default.group if isinstance(self.default, GroupDefault) else getattr(self.default, "path", "")
        return name or ""


class DefaultsRepair:
    """Turns an error about options into a mistake, and removes its cause."""

    def __init__(self, sources: Sources, overrides: list[Override], mistakes: list[Mistake]) -> None:
        self.sources, self.overrides, self.mistakes = sources, overrides, mistakes
        self.broken: list[str] = []  # keys where a component is missing

    def repair(self, error: Exception) -> bool:
        """Tell what is wrong and make it right; False if nothing is left to try."""
        if isinstance(error, MissingConfigException) and error.missing_cfg_file:
            return self._unknown_option(error.missing_cfg_file)
        for pattern, explain in self._explanations().items():
            if match := re.search(pattern, str(error), re.DOTALL):
                return explain(match)
        return False

    def _explanations(self) -> dict[str, Callable[[re.Match[str]], bool]]:
        return {
            r"^You must specify '([^']+)'": self._no_choice,
            r"^(?:In '([^']+)': )?Could not override '([^']+)'\.(.*)": self._not_in_defaults,
            r"In (\S+): Override '(\S+) : (\S+)' is defined before '([^']+)'": self._override_too_early,
            r"^Multiple values for (\S+)\.": self._chosen_twice,
            r"^(\S+) appears more than once": self._chosen_twice,
            r"^Could not delete '([^'=]+)": self._nothing_to_delete,
            r"^force-add of config groups is not supported: '([^']+)'": self._forced,
            r"^Config group override must be a string": self._no_name,
        }

    def items(self) -> list[Item]:
        """Every item of the defaults lists loaded so far."""
        found = []
        for path, result in self.sources.loaded.items():
            found += [Item(path, default) for default in result.defaults_list or [] if not default.is_self()]
        return found

    def place(self, item: Item) -> str:
        """Where an item stands."""
        return self.sources.place(item.config_path, item.default)

    def options(self, group: str) -> list[str]:
        """The options of a group."""
        return self.sources.options(group)

    def _unknown_option(self, missing: str) -> bool:
        for override in self.overrides:
            value = override.value()
            values = value if isinstance(value, list) else [value]
            if missing in [f"{override.key_or_group}/{value}" for value in values]:  # pyright: ignore[reportGeneralTypeIssues]
                return self._mistyped_option(override, missing.rpartition("/")[2] if len(values) > 1 else str(values[0]))  # pyright: ignore
        for item in self.items():
            if missing == (f"{item.group}/{item.option}" if item.group else item.option):
                return self._miswritten_option(item)
        return False

    def _mistyped_option(self, override: Override, name: str) -> bool:
        group, line = override.key_or_group, str(override.input_line)
        options = self.options(group)
        meant = closest(name, options)
        suggestion = line.replace(name, meant) if meant else ""
        what = f"there is no {'experiment' if group == 'experiment' else group + ' named'} {name!r}."
        self._drop(override, suggestion)
        code = "MM106" if group == "experiment" else "MM201"
        self.mistakes.append(Mistake(code, line, what, suggestion, "" if meant else _listed(options)))
        return bool(meant) or group not in ("experiment", "task")

    def _miswritten_option(self, item: Item) -> bool:
        groups = self.sources.groups()
        if item.group and item.group not in groups:
            meant = closest(item.group, groups)
            what, code = f"there is no group {item.group!r}.", "MM202"
            suggestion = item.text(group=meant) if meant else ""
            advice = "" if meant else _listed(groups)
        else:
            options = self.options(item.group)
            option = closest(item.option, options)
            what, code = f"{item.group or 'the search path'} has no {item.option!r}.", "MM201"
            meant, suggestion, advice = item.group, item.text(option=option) if option else "", "" if option else _listed(options)
        self.mistakes.append(Mistake(code, item.text()[2:], what, suggestion, advice, self.place(item)))
        self._rewrite(item, suggestion)
        return True

    def _rewrite(self, item: Item, text: str) -> None:
        """Put the item in order in what is loaded, or take it out."""
        defaults = self.sources.loaded[item.config_path].defaults_list or []
        if not text:
            defaults.remove(item.default)
            self.broken.append(item.key.partition("@")[2] or item.group.replace("/", "."))
        elif isinstance(item.default, GroupDefault):
            key, _, option = text.removeprefix("- ").removeprefix("override ").partition(": ")
            item.default.group, item.default.value = key.partition("@")[0], option
        elif isinstance(item.default, ConfigDefault):
            item.default.path = text.removeprefix("- ")

    def _no_choice(self, match: re.Match[str]) -> bool:
        key = match[1]
        options = self.options(key.partition("@")[0])
        if any(mistake.key.startswith(f"{key}=") for mistake in self.mistakes):
            return self._delete_choice(key)
        self.mistakes.append(
            Mistake("MM302", key, "no option is chosen.", f"{key}={options[0] if options else 'OPTION'}", _listed(options))
        )
        return self._delete_choice(key)

    def _delete_choice(self, key: str) -> bool:
        deletion = parsed(f"~{key}")
        if deletion is None or any(override.input_line == deletion.input_line for override in self.overrides):
            return False
        self.overrides.append(deletion)
        return True

    def _not_in_defaults(self, match: re.Match[str]) -> bool:
        key, choices = match[2], re.findall(r"[\w/]+@?[\w.]*", match[3].partition("override ")[2].partition("\n")[0])
        choices = [choice for choice in choices if "/" in choice or "@" in choice or choice.isidentifier()]
        choices = [choice for choice in choices if choice not in ("one", "of")]
        close = get_close_matches(key, choices, n=1, cutoff=0) or choices[:1]
        if match[1] is None:
            override = next((override for override in self.overrides if override.get_key_element() == key), None)
            if override is None:
                return False
            line = str(override.input_line)
            suggestion = line.replace(key, close[0], 1) if close else f"+{line}"
            message = f"no defaults list names {key!r}{f', but {_some(choices)}' if choices else ''}."
            self.mistakes.append(Mistake("MM206", line, message, suggestion))
            self._drop(override, suggestion)
            return True
        item = next((item for item in self.items() if item.config_path == match[1] and item.key == key), None)
        if item is None:
            return False
        suggestion = f"- override /{close[0]}: {item.option}" if close else item.text(override=False)
        what = f"nothing names {key!r} before, so it cannot be overridden."
        self.mistakes.append(Mistake("MM206", item.text()[2:], what, suggestion, place=self.place(item)))
        self._rewrite(item, "")
        return True

    def _override_too_early(self, match: re.Match[str]) -> bool:
        config_path, key = match[1], match[2]
        item = next((item for item in self.items() if item.config_path == config_path and item.key == key), None)
        if item is None:
            return False
        what, advice = f"an override stands before {match[4]!r}.", "Move it behind all that are no overrides."
        self.mistakes.append(Mistake("MM503", item.text()[2:], what, item.text(), advice, self.place(item)))
        self._put_overrides_last(config_path)
        return True

    def _put_overrides_last(self, config_path: str) -> None:
        result = self.sources.loaded[config_path]
        items = result.defaults_list or []
        result.defaults_list = sorted(items, key=lambda default: not default.is_self() and default.is_override())

    def _chosen_twice(self, match: re.Match[str]) -> bool:
        key = match[1]
        added = next(
            (override for override in self.overrides if override.is_add() and override.get_key_element() == f"+{key}"), None
        )
        if added is not None:
            line = str(added.input_line)
            self.mistakes.append(Mistake("MM204", line, f"{key} is chosen already; without + it is chosen anew.", line[1:]))
            self._drop(added, line[1:])
            return True
        again = [
            item
            for item in self.items()
            if item.key == key and not item.default.is_override() and item.config_path != "base_config"
        ]
        if not again:
            return False
        item = again[-1]
        if len({other.option for other in again}) == 1 and len(again) > 1:
            what = f"{key} is named twice, with the same option."
            self.mistakes.append(Mistake("MM505", item.text()[2:], what, advice="Remove one of them.", place=self.place(item)))
            (self.sources.loaded[item.config_path].defaults_list or []).remove(item.default)
            return True
        suggestion = item.text(override=True) if isinstance(item.default, GroupDefault) else ""
        what, advice = f"{key} is chosen already.", "Overrides come last."
        self.mistakes.append(Mistake("MM505", item.text()[2:], what, suggestion, advice, self.place(item)))
        if isinstance(item.default, GroupDefault):
            item.default.override = True
            self._put_overrides_last(item.config_path)
        else:
            self._rewrite(item, "")
        return True

    def _nothing_to_delete(self, match: re.Match[str]) -> bool:
        override = next(
            (override for override in self.overrides if override.is_delete() and override.get_key_element() == f"~{match[1]}"),
            None,
        )
        if override is None:
            return False
        meant = closest(match[1], [item.key for item in self.items()])
        self.mistakes.append(
            Mistake("MM206", str(override.input_line), f"no defaults list names {match[1]!r}.", f"~{meant}" if meant else "")
        )
        self._drop(override, "")
        return True

    def _forced(self, match: re.Match[str]) -> bool:
        override = next((override for override in self.overrides if override.input_line == match[1]), None)
        if override is None:
            return False
        self.mistakes.append(Mistake("MM204", match[1], "an option of a group cannot be forced with ++.", match[1][2:]))
        self._drop(override, match[1][2:])
        return True

    def _no_name(self, match: re.Match[str]) -> bool:
        groups = set(self.sources.groups())
        for override in self.overrides:
            if (
                override.key_or_group in groups
                and not isinstance(override.value(), str | list | dict)
                and not override.is_delete()
            ):
                options = self.options(override.key_or_group)
                what = f"{override.key_or_group} is a group; one of its options is named."
                self.mistakes.append(
                    Mistake(
                        "MM301",
                        str(override.input_line),
                        what,
                        f"~{override.key_or_group}" if override.value() is None else "",
                        _listed(options),
                    )
                )
                self._drop(override, "")
                return True
        return False

    def _drop(self, override: Override, instead: str) -> None:
        """Go on with what was meant in place of an override."""
        better = parsed(instead) if instead else None
        if better is None:
            self.broken.append(override.package or override.key_or_group.replace("/", "."))
        index = self.overrides.index(override)
        self.overrides[index : index + 1] = [better] if better is not None else []


def _listed(options: list[str]) -> str:
    return f"There are: {_some(options, 12)}." if options else "There are none."


def _some(names: list[str], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
