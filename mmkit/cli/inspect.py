"""``mmkit inspect``: what an archive or a checkpoint holds. Nothing is imported or built, and no torch is needed."""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from mmkit.archive.config_file import load_config
from mmkit.archive.config_rules import problems, targets, untrusted_places
from mmkit.archive.format import CONFIG, WEIGHTS, printable, strict_json
from mmkit.archive.members import problem_of_member, read_checkpoint_manifest
from mmkit.archive.reader import Archive, open_archive
from mmkit.cli.output import add_json, console, show_json
from mmkit.errors import RefusedError


MAX_HEADER = 64 * 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the file and ``--json``."""
    parser.add_argument("file", metavar="FILE", type=Path, help="an archive, or the directory of a checkpoint")
    add_json(parser)
    parser.set_defaults(run=inspect)


def inspect(arguments: argparse.Namespace) -> None:
    """Print what a file holds.

    Raises:
        RefusedError: If it is damaged, or nothing would be restored from it.
    """
    path = arguments.file.expanduser()
    facts = checkpoint_facts(path) if path.is_dir() else archive_facts(path)
    if arguments.json:
        show_json(facts)
    else:
        _print(facts)
    if facts["problems"]:
        raise RefusedError(printable(f"{path}: {'; '.join(facts['problems'])}"))


def archive_facts(path: Path) -> dict[str, Any]:
    """Everything about an archive, all of its digests checked."""
    with open_archive(path) as archive:
        archive.verify()
        manifest, config = archive.manifest, load_config(archive.read(CONFIG))
        places = [f"{place} (override_config or trust must name it)" for place in untrusted_places(config, ())]
        return {
            "kind": "archive",
            "path": str(path),
            "provenance": manifest.provenance,
            "targets": targets(config),
            "members": {name: vars(member) for name, member in manifest.members.items()},
            "tensors": _tensors(archive),
            "aliases": manifest.aliases,
            "artifacts": {reference: vars(artifact) for reference, artifact in manifest.artifacts.items()},
            "registrations": [vars(registration) for registration in manifest.registrations],
            "withheld": manifest.withheld,
            "problems": [*problems(config, manifest.artifacts), *places],
        }


def checkpoint_facts(path: Path) -> dict[str, Any]:
    """Members of a checkpoint, and which of them are damaged."""
    members, provenance = read_checkpoint_manifest(path)
    found = [problem_of_member(path / name, member) for name, member in members.items()]
    return {
        "kind": "checkpoint",
        "path": str(path),
        "provenance": provenance,
        "targets": _targets(path),
        "members": {name: {"size": member.size, member.hash: member.digest} for name, member in members.items()},
        "problems": [problem for problem in found if problem is not None],
    }


def _targets(path: Path) -> dict[str, list[str]]:
    file = path / CONFIG
    return targets(load_config(file.read_bytes())) if file.is_file() else {}


def _tensors(archive: Archive) -> dict[str, Any]:
    """Number of tensors and of their values, by type, from the header of the weights."""
    length = int.from_bytes(archive.start(WEIGHTS, 8), "little")
    if not 0 < length <= min(MAX_HEADER, archive.manifest.members[WEIGHTS].size - 8):
        raise RefusedError(f"{WEIGHTS} has no header.")
    header = strict_json(archive.start(WEIGHTS, 8 + length)[8:], f"The header of {WEIGHTS}")
    header.pop("__metadata__", None)
    values: Counter[str] = Counter()
    for name, entry in header.items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise RefusedError(f"The header of {WEIGHTS} does not give a shape for {name!r}.")
        number = 1
        for size in shape:
            number *= size
        values[str(entry.get("dtype"))] += number
    return {"number": len(header), "values": dict(values)}


def _print(facts: dict[str, Any]) -> None:
    out = console()

    def show(text: str) -> None:
        out.print(printable(text))

    show(f"{facts['kind']}  {facts['path']}")
    for name, value in facts.get("provenance", {}).items():
        show(f"  {name}: {value}")
    if "targets" in facts:
        out.print("\ntargets", style="bold")
        for name, keys in facts["targets"].items():
            show(f"  {name}  ({', '.join(keys[:4])}{' …' if len(keys) > 4 else ''})")
    if "tensors" in facts:
        values = ", ".join(f"{number:,} {dtype}" for dtype, number in facts["tensors"]["values"].items())
        show(f"\n{facts['tensors']['number']} tensors, {len(facts['aliases'])} further names: {values}")
    out.print("\nmembers", style="bold")
    width = max(map(len, facts["members"]))
    for name, member in facts["members"].items():
        size, digest = member.values()
        show(f"  {name:<{width}}  {size:>15,}  {digest}")
    for reference, artifact in facts.get("artifacts", {}).items():
        files = f" ({len(artifact['files'])} files)" if artifact["folder"] else ""
        show(f"artifact  mmkit:{reference}  {artifact['name']}{files}")
    if facts.get("withheld"):
        show(f"withheld secrets  {', '.join(facts['withheld'])}")
