"""``mmkit plan``: shapes, memory and operations of an experiment, and what in it does not fit, before data and GPU."""

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkit.cli.numbers import count, size
from mmkit.cli.output import add_json, show_json, show_table
from mmkit.errors import UsageError


if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mmkit.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the experiment, its overrides, and where shapes come from."""
    parser.usage = "mmkit plan EXPERIMENT [key=value ...] [--data] [--shape KEY=SIZES ...] [--json]"
    parser.add_argument("experiment", metavar="EXPERIMENT")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="as for mmkit_run")
    parser.add_argument("--data", action="store_true", help="build the data sets and plan with their first batch")
    parser.add_argument(
        "--shape", metavar="KEY=SIZES", action="append", default=[], help="what an example holds, e.g. rgb=3x224x224 or text=77"
    )
    add_json(parser)
    parser.set_defaults(run=plan)


def plan(arguments: argparse.Namespace) -> None:
    """Print the plan of an experiment.

    Raises:
        UsageError: Its configuration is wrong, or parts of it do not fit together.
    """
    typed = [f"+experiment={arguments.experiment}", *arguments.overrides]
    with composed(typed).resolving() as cfg:
        show_plan(cfg, arguments.shape, arguments.data, arguments.json)


def show_plan(cfg: "DictConfig", shapes: Sequence[str] = (), with_data: bool = False, as_json: bool = False) -> None:
    """Print the plan of a composed configuration.

    Raises:
        UsageError: Parts of it do not fit together; they are printed before.
    """
    from mmkit.plan import make_plan  # imports torch

    made = make_plan(cfg, shapes, with_data)
    if as_json:
        show_json(made.as_dict())
    else:
        _show(cfg, made)
    if made.mismatches:
        number = len(made.mismatches)
        raise UsageError(f"{number} {'part does' if number == 1 else 'parts do'} not fit together; see above.")


def dry_run(cfg: "DictConfig", run_dir: Path) -> None:
    """Print the plan in place of a run; the run's directory, which Hydra has made, is removed if nothing is in it.

    Raises:
        UsageError: As for :func:`show_plan`.
    """
    try:
        show_plan(cfg)
    finally:
        with contextlib.suppress(OSError):  # not empty: somebody's
            for folder in (run_dir, run_dir.parent, run_dir.parent.parent):
                folder.rmdir()


def composed(typed: list[str]) -> Any:
    """The configuration that the arguments of ``mmkit_run`` name, checked as for a run."""
    from mmkit.cli.composing import compose
    from mmkit.cli.preflight import check
    from mmkit.cli.preflight.imports import import_projects
    from mmkit.cli.preflight.mistakes import refuse

    checked = check(typed)
    refuse(checked.mistakes)
    import_projects()
    return compose("base_config", checked.overrides, checked.search_path)


def _show(cfg: "DictConfig", made: "Plan") -> None:
    if made.rows:
        show_table(("component", "parameters", "", "output", "forward"), _rows(made), right=("parameters", "forward"))
        print()
    for name, value in _facts(cfg, made):
        print(f"{name:<18}{value}")
    for title, lines in (
        ("Assumed", made.assumptions),
        ("Not known", made.unknowns),
        ("Does not fit", [mismatch.message for mismatch in made.mismatches]),
    ):
        if lines:
            print(f"\n{title}")
            for line in lines:
                print(f"  {line}")


def _rows(made: "Plan") -> list[tuple[str, ...]]:
    return [
        (
            row.key,
            count(row.parameters) if row.parameters else "",
            _state(row.trainable, row.parameters),
            "" if row.output is None else str(row.output).replace(" ", "") if row.output else "scalar",
            f"{count(row.flops)}FLOP" if row.flops else "",
        )
        for row in [*made.rows, made.total]
    ]


def _state(trainable: int, parameters: int) -> str:
    if not parameters:
        return ""
    return "trainable" if trainable == parameters else f"{count(trainable)} trainable" if trainable else "frozen"


def _facts(cfg: "DictConfig", made: "Plan") -> list[tuple[str, str]]:
    memory = made.memory
    entries = [f"{name} {value}" for name, value in made.batch.items()]
    facts = [("batch" if index == 0 else "", entry) for index, entry in enumerate(entries)]
    if not made.rows:
        return facts
    precision = cfg.trainer.precision or "32-true"
    facts.append(("precision", str(precision)))
    facts += [
        (name, size(value, binary=True))
        for name, value in (
            ("parameters", memory.parameters),
            ("gradients", memory.gradients),
            ("optimizer", memory.optimizer),
            ("moving average", memory.average),
        )
        if value and (memory.activations is not None or name == "parameters")
    ]
    if memory.activations is not None:
        facts += [("activations", size(memory.activations, binary=True)), ("memory at most", size(memory.peak or 0, binary=True))]
    if made.flops is not None:
        batches = cfg.trainer.accumulate_grad_batches
        facts.append(("one step", f"{count(made.flops)}FLOP" + (f" ({batches} batches)" if batches > 1 else "")))
    return facts
