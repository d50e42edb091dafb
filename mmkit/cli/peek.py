"""``mmkit data peek``: look at the examples of an experiment's data sets before a model does."""

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkit.cli.numbers import at_least
from mmkit.cli.output import add_json, console, show_json, show_table
from mmkit.errors import MMKitError, RefusedError, UsageError


if TYPE_CHECKING:
    from mmkit.cli.composing import Composed

SPLITS = ("train", "val", "test")
_ENCODED = "mmkit.datasets.encoded.EncodedDataset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the experiment, its overrides, and what is shown."""
    parser.usage = "mmkit data peek EXPERIMENT [key=value ...] [--split SPLIT] [-k K] [--sheet FILE] [--check N] [--json]"
    parser.add_argument("experiment", metavar="EXPERIMENT")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="as for mmkit_run")
    parser.add_argument("--split", choices=SPLITS, default="train", help="whose examples are shown (default: train)")
    parser.add_argument("-k", type=at_least(1), default=8, metavar="K", help="how many of each data set (default: 8)")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="where pictures go (default: peek-EXPERIMENT-SPLIT.png)")
    parser.add_argument(
        "--check",
        type=at_least(0),
        default=1000,
        metavar="N",
        help="look for duplicates in the first N examples of each (default: 1000)",
    )
    add_json(parser)
    parser.set_defaults(run=peek)


def peek(arguments: argparse.Namespace) -> None:
    """Show examples of one split, and what examples of all splits have in common.

    Raises:
        UsageError: There is no such experiment, or its split has no data.
    """
    with _composed([f"+experiment={arguments.experiment}", *arguments.overrides]).resolving() as cfg:
        _peek(cfg, arguments)


def _peek(cfg: Any, arguments: argparse.Namespace) -> None:
    entries = {split: _entries(cfg.datasets[split]) for split in SPLITS}
    if not entries[arguments.split]:
        given = [split for split in SPLITS if entries[split]]
        raise UsageError(f"datasets.{arguments.split} is empty. Data sets are in: {', '.join(given) or 'none'}.")
    _seed(cfg.seed or 0)

    from mmkit.cli.peeking.examples import View, look_at
    from mmkit.cli.peeking.identity import Identities, identities

    built = {f"{split}.{name}".rstrip("."): _built(entry) for split in SPLITS for name, entry in entries[split].items()}
    views: list[View] = [
        look_at(f"datasets.{name}", dataset, arguments.k)
        for name, dataset in built.items()
        if name.partition(".")[0] == arguments.split
    ]
    checked = built if arguments.check > 0 else {}
    found: list[Identities] = [identities(name, dataset, arguments.check) for name, dataset in checked.items()]
    sheet = arguments.sheet or Path(f"peek-{arguments.experiment.replace('/', '_')}-{arguments.split}.png")
    written = _write_sheet(views, sheet)
    if arguments.json:
        show_json({"datasets": [view.as_dict() for view in views], "sheet": written, "checks": _checks(found)})
    else:
        _show(views, written, found)


def _composed(typed: Sequence[str]) -> "Composed":
    """The configuration as ``mmkit_run --help`` composes it: what has nothing to do with the data may be missing or wrong."""
    from mmkit.cli.preflight import compose_to_read
    from mmkit.cli.preflight.imports import import_projects

    composed = compose_to_read(typed)
    import_projects()
    return composed


def _entries(node: Any) -> dict[str, Any]:
    """Configurations of the data sets of a split, by name."""
    if not node:
        return {}
    return {"": node} if "_target_" in node else {str(name): entry for name, entry in node.items() if entry is not None}


def _built(entry: Any) -> Any:
    """The data set; of one that is encoded, what is inside: features tell a person nothing."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    from mmkit.cli.failure import explain, root_cause

    while isinstance(entry, Mapping) and entry.get("_target_") == _ENCODED:
        entry = entry["dataset"]
    try:
        return instantiate(entry)
    except InstantiationException as error:
        reason = root_cause(error)
        raise (type(reason) if isinstance(reason, UsageError | RefusedError) else MMKitError)(explain(error)) from error


def _seed(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _write_sheet(views: Sequence[Any], path: Path) -> str | None:
    from mmkit.cli.peeking.contact_sheet import write_sheet

    return str(path) if write_sheet(views, path) else None


def _checks(found: Sequence[Any]) -> dict[str, Any]:
    from mmkit.cli.peeking.identity import overlaps

    return {"splits": [each.as_dict() for each in found], "overlaps": [vars(overlap) for overlap in overlaps(found)]}


def _show(views: Sequence[Any], sheet: str | None, found: Sequence[Any]) -> None:
    from mmkit.cli.peeking.identity import overlaps

    out = console()
    for view in views:
        size = f"{view.num_examples:,} examples" if view.num_examples is not None else "a stream"
        out.print(f"{view.name}  {view.cls}, {size}", style="bold")
        show_table(("key", "type", "shape", "values"), [(each.key, each.kind, each.shape, each.values) for each in view.columns])
        print()
        if view.texts:
            show_table(("example", "id", *view.text_keys), view.texts, right=("example", "id"))
            print()
    if sheet:
        out.print(f"Pictures: {sheet}\n")
    if found:
        rows = [(each.name, each.told_size, each.num_ids, each.num_repeated_ids, each.num_repeated) for each in found]
        columns = ("data set", "examples", "ids", "with a known id", "with known content")
        show_table(columns, rows, right=columns[1:])
        for overlap in overlaps(found):
            out.print(
                f"{overlap.first} and {overlap.second} share {overlap.num_ids} ids and the content of {overlap.num_contents}."
            )
