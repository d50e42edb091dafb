"""``mmkit ckpt``: what checkpoints there are, whether they are intact, how they differ, and their weights as one file."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmkit.cli.numbers import size
from mmkit.cli.output import add_json, show_json, show_table
from mmkit.errors import MMKitError, RefusedError
from mmkit.experiment.checkpoint import CheckpointInfo, list_checkpoints, newest_good
from mmkit.experiment.checkpoint.verification import problem_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``list``, ``verify``, ``diff``, ``export`` and ``import``."""
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    listing = commands.add_parser("list", help="the checkpoints of a run, and whether they are intact")
    listing.add_argument("directory", metavar="DIR", type=Path, nargs="?", default=Path(), help="a run, or its checkpoints")
    listing.add_argument("--quick", action="store_true", help="look at sizes only, without reading the files")
    add_json(listing)
    listing.set_defaults(run=list_them)
    verifying = commands.add_parser("verify", help="hold checkpoints against their manifests; exit code 3 if one is damaged")
    verifying.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="a checkpoint, a run, or its checkpoints")
    add_json(verifying)
    verifying.set_defaults(run=verify_them)
    comparing = commands.add_parser("diff", help="what differs between two checkpoints: tensors, state, configuration")
    comparing.add_argument("first", metavar="A", type=Path, help="a checkpoint, or a run for its latest")
    comparing.add_argument("second", metavar="B", type=Path)
    add_json(comparing)
    comparing.set_defaults(run=compare)
    exporting = commands.add_parser("export", help="write the weights of a checkpoint into one safetensors file")
    exporting.add_argument("checkpoint", metavar="CKPT", type=Path, help="a checkpoint, or a run for its latest")
    exporting.add_argument("file", metavar="FILE", type=Path, help="the .safetensors file to write")
    exporting.add_argument("--prefix", default="", help="take only weights whose names begin so, and leave it away")
    exporting.set_defaults(run=export)
    importing = commands.add_parser("import", help="make a checkpoint from another one and weights in a safetensors file")
    importing.add_argument("checkpoint", metavar="CKPT", type=Path, help="gives everything but the weights")
    importing.add_argument("file", metavar="FILE", type=Path, help="the .safetensors file to read")
    importing.add_argument("target", metavar="NEW", type=Path, help="directory of the new checkpoint")
    importing.add_argument("--prefix", default="", help="put this before the names in FILE; other weights stay")
    importing.set_defaults(run=import_)


def list_them(arguments: argparse.Namespace) -> None:
    """Print the checkpoints of a directory, the last saved first."""
    directory = _directory(arguments.directory)
    found = list_checkpoints(directory, thorough=not arguments.quick)
    if arguments.json:
        show_json([_plain(info) for info in found])
    elif found:
        _show(found)
    else:
        print(f"There is no checkpoint in {directory.resolve()}.")


def verify_them(arguments: argparse.Namespace) -> None:
    """Print what is wrong with each checkpoint.

    Raises:
        RefusedError: One of them is damaged, or there is none.
    """
    problems: dict[str, str | None] = {}
    for path in arguments.paths:
        directory = _directory(path)
        checkpoints = [info.path for info in list_checkpoints(directory)] or [path]
        problems |= {str(checkpoint): problem_of(checkpoint) for checkpoint in checkpoints}
    if arguments.json:
        show_json([{"path": path, "good": not problem, "problem": problem} for path, problem in problems.items()])
    else:
        for path, problem in problems.items():
            print(f"{path}: {problem or 'good'}")
    bad = [path for path, problem in problems.items() if problem]
    if bad:
        raise RefusedError(f"{len(bad)} of {len(problems)} {'is' if len(bad) == 1 else 'are'} not good: {', '.join(bad)}")


def compare(arguments: argparse.Namespace) -> None:
    """Print what differs between two checkpoints."""
    from mmkit.experiment.checkpoint.differences import differences

    found = differences(_checkpoint(arguments.first), _checkpoint(arguments.second))
    if arguments.json:
        show_json(asdict(found))
        return
    if not found:
        print(f"Identical: {found.num_compared:,} tensors and values, and the configuration.")
        return
    if found.tensors:
        rows = [(each.name, *_kinds(each.kinds), "" if each.max_abs is None else f"{each.max_abs:.3g}") for each in found.tensors]
        show_table(("tensor", "A", "B", "largest difference"), rows)
    for title, values in (("state", found.state), ("configuration", found.config)):
        if values:
            show_table((title, "A", "B"), [(each.name, *each.values) for each in values])
    num_different = len(found.tensors) + len(found.state)
    print(f"{num_different:,} of {found.num_compared:,} tensors and values differ, and {len(found.config)} of the configuration.")


def export(arguments: argparse.Namespace) -> None:
    """Write weights into a file."""
    from mmkit.experiment.checkpoint.exchange import export_weights

    checkpoint = _checkpoint(arguments.checkpoint)
    with _files_written():
        num_names, left_out = export_weights(checkpoint, arguments.file, arguments.prefix)
    print(f"{arguments.file}: {num_names} tensors of {checkpoint}")
    if left_out:
        print(f"Left out, as safetensors does not hold them: {', '.join(left_out)}")


def import_(arguments: argparse.Namespace) -> None:
    """Make a checkpoint with the weights of a file."""
    from mmkit.experiment.checkpoint.exchange import import_weights

    checkpoint = _checkpoint(arguments.checkpoint)
    with _files_written():
        num_names = import_weights(checkpoint, arguments.file, arguments.target, arguments.prefix)
    print(f"{arguments.target}: {checkpoint} with {num_names} tensors of {arguments.file}")


@contextmanager
def _files_written() -> Iterator[None]:
    """Tell in a line of a disk that is full or read-only, or of a directory that is missing."""
    try:
        yield
    except OSError as error:
        raise MMKitError(f"{error.filename or 'The file'} cannot be written: {error.strerror}") from None


def _directory(path: Path) -> Path:
    """Where the checkpoints of a run lie."""
    if not path.exists():
        raise RefusedError(f"{path}: there is no such directory")
    return path / "checkpoints" if (path / "checkpoints").is_dir() else path


def _checkpoint(path: Path) -> Path:
    """A checkpoint: the one given, or the latest of a run."""
    directory = _directory(path)
    if directory.is_dir() and list_checkpoints(directory):
        return newest_good(directory) or path
    return path


def _plain(info: CheckpointInfo) -> dict[str, Any]:
    return {**asdict(info), "path": str(info.path), "good": info.problem is None}


def _show(found: list[CheckpointInfo]) -> None:
    rows = []
    for info in found:
        score = None if info.score is None else f"{info.score:.5g}"
        state = "yes" if info.problem is None else f"NO: {info.problem}"
        name = info.path.name + (" (latest)" if info.is_latest else "")
        rows.append((name, info.step, info.epoch, score, size(info.size), _age(info.saved_at), state))
    monitor = next((info.monitor for info in found if info.monitor), None)
    show_table(("checkpoint", "step", "epoch", monitor or "score", "size", "age", "good?"), rows)


def _kinds(kinds: tuple[str, str]) -> tuple[str, str]:
    return (kinds[0], "the same") if kinds[0] == kinds[1] else kinds


def _age(saved_at: float | None) -> str:
    if saved_at is None:
        return ""
    seconds = max(0, time.time() - saved_at)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
