"""``mmkit runs show``: what a run was, what it came to, and what to do with it."""

import argparse
import os
from collections.abc import Iterator, Mapping
from typing import Any

from mmkit.cli.numbers import size
from mmkit.cli.output import console, show_json, show_table
from mmkit.cli.runs.finding import find_run
from mmkit.cli.runs.listing import facts
from mmkit.cli.runs.next_steps import next_steps
from mmkit.cli.runs.record import Run, seconds_of
from mmkit.cli.runs.wording import moment, number, span


_FILES = ("report.html", "error.log", "config.yaml", "metrics.jsonl", "provenance.json", "logs")
_PACKAGES = ("torch", "lightning", "transformers", "timm")


def show(arguments: argparse.Namespace) -> None:
    """Print everything about a run that a person asks for first."""
    run = find_run(arguments.name)
    if arguments.json:
        show_json(everything(run))
        return
    out = console()
    out.print(str(run.path), style="bold")
    told = [(name, text) for name, text in _facts(run) if text]
    for name, text in told:
        out.print(f"  {name:<11} {text}")
    sections = (_attempts(run), _metrics(run), _checkpoints(run))
    for columns, rows, right in sections:
        if rows:
            print()
            show_table(columns, rows, right)
    print()
    for path in _files(run):
        out.print(f"  {os.path.relpath(path)}")
    for purpose, command in next_steps(run):
        out.print(f"\nTo {purpose}:\n  {command}")


def everything(run: Run) -> dict[str, Any]:
    """What ``show --json`` tells."""
    best = run.best
    return {
        **facts(run),
        "attempts": run.attempts,
        "metrics": run.last_metrics(),
        "checkpoints": [{**vars(info), "path": str(info.path), "is_best": info == best} for info in run.checkpoints],
        "provenance": run.origin,
        "files": [str(path) for path in _files(run)],
        "next": [{"to": purpose, "command": command} for purpose, command in next_steps(run)],
    }


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    origin = run.origin
    last = run.attempts[-1] if run.attempts else {}
    reason = f" ({last['reason']})" if last.get("reason") else ""
    holder = f", {run.holder}" if run.holder else ""
    steps = f", step {run.step}" if run.step is not None else ""
    yield "state", f"{run.state}{reason}{holder}{steps}"
    yield "started", f"{moment(run.started)}, took {span(run.duration)}" if run.duration is not None else moment(run.started)
    yield "experiment", f"{run.record.get('name', '?')} ({run.job_type})"
    yield "overrides", " ".join(map(str, last.get("overrides", [])))
    code = origin.get("code", {})
    yield "code", "; ".join(f"{name}: {told}" for name, told in ((name, told_code(code.get(name))) for name in code) if told)
    packages = origin.get("packages", {})
    versions = [f"{name} {packages[name]}" for name in _PACKAGES if name in packages]
    yield "versions", ", ".join([f"python {origin.get('python')}", f"mmkit {origin.get('mmkit')}", *versions]) if origin else ""
    machine = [origin.get("host"), *(origin.get("accelerators") or [origin.get("processor")])]
    yield "machine", ", ".join(str(part) for part in machine if part)
    yield "data", "; ".join(f"{split}: {_told_data(entries)}" for split, entries in origin.get("data", {}).items())


def told_code(state: Any) -> str:
    """Revision, branch and whether there were changes, of what ``provenance.json`` says of a checkout."""
    if not isinstance(state, Mapping):
        return str(state or "")
    changes = ", with uncommitted changes" if state.get("dirty") else ""
    return f"{str(state.get('revision'))[:10]} ({state.get('branch')}{changes})"


def _told_data(entries: Mapping[str, Any]) -> str:
    told = []
    for name, entry in entries.items():
        length = f", {entry['length']:,} examples" if isinstance(entry.get("length"), int) else ""
        told.append(f"{name} ({str(entry.get('class', '?')).rpartition('.')[2]}{length})")
    return ", ".join(told)


_Section = tuple[tuple[str, ...], list[tuple[Any, ...]], tuple[str, ...]]


def _attempts(run: Run) -> _Section:
    rows = []
    for index, attempt in enumerate(run.attempts, 1):
        state = attempt.get("status", run.state)
        start, end = seconds_of(attempt.get("start")), seconds_of(attempt.get("end"))
        took = span(end - start) if start is not None and end is not None else None
        reason = attempt.get("reason")
        rows.append((index, moment(start), took, attempt.get("from_step"), f"{state} ({reason})" if reason else state))
    return ("attempt", "started", "took", "from step", "ended"), rows if len(rows) > 1 else [], ("from step",)


def _metrics(run: Run) -> _Section:
    best = run.best
    rows = [
        (name, number(value), number(best.score) if best and best.monitor == name else None)
        for name, value in run.last_metrics().items()
    ]
    return ("metric", "last", "best"), rows, ("last", "best")


def _checkpoints(run: Run) -> _Section:
    best = run.best
    rows = []
    for info in run.checkpoints:
        marks = [mark for mark, holds in (("best", info == best), ("latest", info.is_latest)) if holds]
        score = None if info.score is None else number(info.score)
        rows.append((info.path.name, info.step, score, size(info.size), info.problem or ", ".join(marks)))
    monitor = next((info.monitor for info in run.checkpoints if info.monitor), "score")
    return ("checkpoint", "step", monitor, "size", ""), rows, ("step", monitor)


def _files(run: Run) -> list[Any]:
    named = [run.path / name for name in _FILES]
    return [path for path in [*sorted(run.path.glob("*.mmkit")), *named, *sorted(run.path.rglob("*.png"))] if path.exists()]
