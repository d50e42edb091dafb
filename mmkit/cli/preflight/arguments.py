"""What was typed: flags and overrides, and what the shell has made of it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Sweep
from hydra.errors import HydraException

from mmkit.cli.preflight.mistakes import Mistake
from mmkit.cli.preflight.names import closest


# Hydra's flags, by their long name: the short one and what they take ("?": perhaps a value).
_FLAGS = {
    "--help": ("-h", ""),
    "--hydra-help": ("", ""),
    "--version": ("", ""),
    "--cfg": ("-c", "job|hydra|all"),
    "--resolve": ("", ""),
    "--package": ("-p", "VALUE"),
    "--run": ("-r", ""),
    "--multirun": ("-m", ""),
    "--shell-completion": ("-sc", ""),
    "--config-path": ("-cp", "VALUE"),
    "--config-name": ("-cn", "VALUE"),
    "--config-dir": ("-cd", "VALUE"),
    "--experimental-rerun": ("", "VALUE"),
    "--info": ("-i", "?all|config|defaults|defaults-tree|plugins|searchpath"),
}
_LONG = {short: name for name, (short, _) in _FLAGS.items() if short}
_OWN = ("--resume",)


@dataclass
class Arguments:
    """Arguments of ``mmkit_run``.

    Attributes:
        flags: Hydra's flags by their long names, with their values.
        overrides: The rest, in its order, ``experiment=x`` as ``+experiment=x``.
        mistakes: What is no flag and no override.
    """

    flags: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)


def read_arguments(typed: Sequence[str]) -> Arguments:
    """Tell flags from overrides."""
    read, rest = Arguments(), list(typed)
    while rest:
        argument = rest.pop(0)
        if flags := _unbundled(argument):
            rest[:0] = flags
        elif argument.startswith("-") and not argument[1:2].isdigit() and len(argument) > 1:
            _read_flag(argument, rest, read)
        else:
            read.overrides.append(with_plus(argument))
    return read


def _unbundled(argument: str) -> list[str]:
    """Short flags and a value that are typed as one, taken apart as argparse does: ``-mcjob`` as ``-m -c=job``; else nothing."""
    flags, left = [], argument.removeprefix("-")
    if argument.startswith("--") or argument.partition("=")[0] in _LONG or f"-{argument}" in _FLAGS:
        return []
    while left:
        flag, left = f"-{left[0]}", left[1:]
        if flag not in _LONG:
            return []
        allowed = _FLAGS[_LONG[flag]][1]
        if left and allowed:
            is_value = allowed == "VALUE" or left in allowed.lstrip("?").split("|")
            return [*flags, f"{flag}={left}"] if is_value else []
        flags.append(flag)
    return flags if len(flags) > 1 else []


def _read_flag(argument: str, rest: list[str], read: Arguments) -> None:
    name, equals, value = argument.partition("=")
    name = _LONG.get(name, name)
    if name not in _FLAGS and len(begun := [flag for flag in _FLAGS if name.startswith("--") and flag.startswith(name)]) == 1:
        name = begun[0]  # argparse takes beginnings
    if name not in _FLAGS:
        mistake = _unknown_flag(argument, name, value)
        read.mistakes.append(mistake)
        if _FLAGS.get(mistake.suggestion, ("", ""))[1] and rest and not _stands_alone(rest[0]):
            rest.pop(0)  # its value
        return
    allowed = _FLAGS[name][1]
    choices = allowed.lstrip("?").split("|")
    if allowed and not equals and rest and (allowed == "VALUE" or rest[0] in choices or not allowed.startswith("?")):
        value = rest.pop(0)
    if allowed and not value and not allowed.startswith("?"):
        read.mistakes.append(Mistake("MM101", argument, f"{name} needs a value: {allowed}."))
    elif value and len(choices) > 1 and value not in choices:
        read.mistakes.append(
            Mistake("MM101", argument, f"{name} takes {', '.join(choices)}.", _joined(name, closest(value, choices)))
        )
    else:
        read.flags[name] = value


def _joined(name: str, value: str | None) -> str:
    return f"{name} {value}" if value else ""


def _unknown_flag(argument: str, name: str, value: str) -> Mistake:
    if value and closest(name, _FLAGS, cutoff=0.85) is None:
        return Mistake("MM101", argument, "settings are given without dashes.", f"{name.lstrip('-')}={value}")
    meant = closest(name, [*_FLAGS, *_OWN])
    advice = "" if meant else f"Flags: {', '.join(_FLAGS)}."
    return Mistake("MM101", argument, "there is no such flag.", meant or "", advice)


_parser = OverridesParser.create()


@lru_cache(maxsize=512)
def parsed(override: str) -> Override | None:
    """One override as Hydra reads it; None if it cannot."""
    try:
        return _parser.parse_overrides([override])[0]
    except (HydraException, ValueError, AssertionError):
        return None


def read_overrides(typed: Sequence[str], experiments: Sequence[str] = ()) -> tuple[list[str], list[Mistake]]:
    """Overrides that Hydra can read, what was meant by those that it cannot, and what is wrong with them.

    Args:
        typed: What was typed, without flags.
        experiments: Names of experiments, to recognise one that was typed alone.
    """
    good: list[str] = []
    mistakes: list[Mistake] = []
    index = 0
    while index < len(typed):
        end = _end_of_torn(typed, index)
        pieces = typed[index:end]
        whole = _mended(pieces)
        if len(pieces) > 1:
            what = "the shell has taken this apart at the spaces."
            mistakes.append(Mistake("MM103", " ".join(pieces), what, shlex.quote(whole)))
        elif parsed(whole) is None:
            mistakes.append(_unreadable(typed[index], experiments))
            meant = shlex.split(mistakes[-1].suggestion)
            whole = meant[0] if meant and "VALUE" not in meant[0] else ""
        good += [with_plus(whole)] if whole else []
        index = end
    return good, mistakes


def with_plus(argument: str) -> str:
    """``experiment=x`` as ``+experiment=x``, which Hydra asks for."""
    return f"+{argument}" if argument.startswith("experiment=") else argument


def _end_of_torn(typed: Sequence[str], index: int) -> int:
    """Behind the last argument that belongs to this one: the shell divides at spaces that are not quoted."""
    override = parsed(typed[index])
    if override is not None:
        is_choice = override.key_or_group in ("experiment", "task") or "/" in override.key_or_group
        if is_choice or not isinstance(override.value(), str):
            return index + 1
    end = index + 1
    while end < len(typed) and not _stands_alone(typed[end]):
        end += 1
    return end if parsed(_mended(typed[index:end])) is not None else index + 1


def _stands_alone(argument: str) -> bool:
    key, equals, _ = argument.partition("=")
    return argument.startswith("~") or bool(equals and key)


def _mended(parts: Sequence[str]) -> str:
    """The pieces as one override; spaces around the first = were not meant."""
    if len(parts) == 1:
        return parts[0]
    key, equals, value = " ".join(parts).partition("=")
    return f"{key.strip()}{equals}{value.strip()}"


def _unreadable(argument: str, experiments: Sequence[str]) -> Mistake:
    key, equals, value = argument.partition("=")
    if not equals:
        return _without_value(argument, experiments)
    if value.startswith("=") and parsed(f"{key}{value}") is not None:
        return Mistake("MM102", argument, "one = is enough.", f"{key}{value}")
    quoted = f'{key}="{value}"' if '"' not in value else f"{key}='{value}'"
    if parsed(quoted) is not None:
        unclosed = next((pair for pair in ("[]", "{}", "()") if value.count(pair[0]) != value.count(pair[1])), None)
        why = (
            f"{unclosed[0]} and {unclosed[1]} do not match"
            if unclosed
            else "the value has characters with a meaning of their own"
        )
        closed = _closed(argument) if unclosed else None
        return Mistake("MM102", argument, f"{why}.", shlex.quote(closed or quoted))
    return Mistake("MM102", argument, "this is not key=value: a key is made of names and dots.")


def _closed(argument: str) -> str | None:
    pairs, missing = {"[": "]", "{": "}", "(": ")"}, []
    for character in argument:
        if character in pairs:
            missing.insert(0, pairs[character])
        elif missing and character == missing[0]:
            missing.pop(0)
    mended = argument + "".join(missing)
    return mended if missing and parsed(mended) is not None else None


def _without_value(argument: str, experiments: Sequence[str]) -> Mistake:
    if argument in experiments:
        return Mistake("MM102", argument, "an experiment is named by its key.", f"+experiment={argument}")
    key, colon, value = argument.partition(":")
    if colon and parsed(f"{key}={value}") is not None:
        return Mistake("MM102", argument, "a key and its value are joined by =.", f"{key}={value}")
    meant = closest(argument, experiments)
    suggestion = f"+experiment={meant}" if meant else f"{argument}=VALUE"
    return Mistake("MM102", argument, "this is not key=value.", suggestion)


def check_sweeps(overrides: Sequence[str], multirun: bool) -> list[Mistake]:
    """Mistakes for overrides with several values where one run is meant, or for what all runs have in common."""
    swept = [override for text in overrides if (override := parsed(text)) is not None and override.is_sweep_override()]
    return [_split(override) for override in swept if override.is_hydra_override() or not multirun]


def _split(override: Override) -> Mistake:
    text = str(override.input_line)
    key, _, value = text.partition("=")
    as_list = f"For one list, type {shlex.quote(f'{key}=[{value}]')}" if "(" not in value and "/" not in key else ""
    if override.is_hydra_override():
        first = next(iter(first_of_sweep(override)), "")
        return Mistake("MM108", text, "a setting of Hydra's has one value for all runs.", first, as_list)
    what = "several values make several runs, which are asked for by a flag."
    return Mistake("MM104", text, what, f"--multirun {shlex.quote(text)}", as_list)


def first_of_sweep(override: Override) -> list[str]:
    """An override with the first value that is swept over; nothing if that cannot be known."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    try:
        return [f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"]
    except (HydraException, StopIteration):
        value = override.value()
        start = getattr(value, "start", None) if isinstance(value, Sweep) else None
        return [] if start is None else [f"{override.get_key_element()}={start}"]
