"""The checkpoints in a directory: which there are, which to go on from, and which to keep."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from mmkit.errors import RefusedError, UsageError
from mmkit.experiment.checkpoint.manifest import MANIFEST, MEMBERS, step_in_name
from mmkit.experiment.checkpoint.placing import LATEST, latest_name, original_name, remove_orphans, take_away
from mmkit.experiment.checkpoint.verification import decoded_manifest, problem_of


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointInfo:
    """What the manifest of a checkpoint says, as far as it can be read.

    Attributes:
        path: Its directory.
        step: Optimizer steps made; from the directory's name if the manifest cannot be read.
        epoch: Epoch.
        score: Value of the monitored metric.
        monitor: Name of that metric.
        mode: Whether the ``"min"`` or the ``"max"`` of it is best.
        size: Bytes of all members.
        saved_at: Seconds since 1970.
        generation: Larger is later; -1 if the manifest cannot be read.
        is_latest: Whether ``LATEST`` names it.
        problem: What is wrong with it, or None.
    """

    path: Path
    step: int | None = None
    epoch: int | None = None
    score: float | None = None
    monitor: str | None = None
    mode: str | None = None
    size: int | None = None
    saved_at: float | None = None
    generation: int = -1
    is_latest: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay: the best by score, and besides them the last; always that which ``LATEST`` names.

    Args:
        save_top_k: How many of the best; ``-1`` keeps everything, ``0`` none for their score.
        mode: ``"min"`` if a lower score is better, ``"max"`` if a higher one is.
        keep_last: How many of the last besides the best; at least 2, so that a damaged one has a predecessor.
    """

    save_top_k: int = 1
    mode: str = "min"
    keep_last: int = 2

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise UsageError(f"mode={self.mode!r} of a checkpoint's score: it is min or max.")
        if self.save_top_k < -1:
            raise UsageError(f"save_top_k={self.save_top_k}: it is a number of checkpoints, or -1 for all.")
        if self.keep_last < 2:
            raise UsageError(f"keep_last={self.keep_last}: it is at least 2, so that a damaged checkpoint has a predecessor.")

    def surplus(self, checkpoints: list[CheckpointInfo]) -> list[CheckpointInfo]:
        """Those of ``checkpoints`` that need not be kept; damaged ones are not judged."""
        if self.save_top_k == -1:
            return []
        newest_first = sorted((info for info in checkpoints if info.problem is None), key=_age)
        best_first = _by_score(newest_first, self.mode)
        best = {info.path for info in best_first[: self.save_top_k]}
        others = [info for info in newest_first if info.path not in best]
        return [info for info in others[self.keep_last :] if not info.is_latest]


def list_checkpoints(directory: str | os.PathLike[str], thorough: bool = False) -> list[CheckpointInfo]:
    """The checkpoints in a directory, the last saved first and those without a readable manifest at the end.

    Args:
        directory: Where they lie; it need not exist.
        thorough: Whether to compute digests, too, for ``problem``; without, names, kinds and sizes are looked at.
    """
    directory = Path(directory)
    latest = latest_name(directory)
    return sorted((_info(path, latest, thorough) for path in _candidates(directory)), key=_age)


def newest_good(directory: str | os.PathLike[str]) -> Path | None:
    """The checkpoint to go on from: the one that ``LATEST`` names, or else the last that is intact.

    Every one that is passed over is named in one warning.

    Returns:
        None only if there never was a checkpoint in ``directory``.

    Raises:
        RefusedError: There are checkpoints, and none is good.
    """
    directory = Path(directory)
    _tidy(directory)
    checkpoints = list_checkpoints(directory)
    latest = latest_name(directory)
    rejected = []
    if latest is not None and not any(info.is_latest for info in checkpoints):
        rejected.append(f"{directory / LATEST}: it names {latest!r}, which is not there")
    # Of those without a readable manifest only the names tell how old they are.
    nameless = [info for info in checkpoints if info.generation < 0 and not info.is_latest]
    for info in sorted((info for info in checkpoints if info not in nameless), key=lambda info: not info.is_latest):
        problem = problem_of(info.path)
        if problem is None:
            if not info.is_latest:
                rejected += [f"{other.path}: {other.problem}" for other in nameless if (other.step or 0) > (info.step or 0)]
            if rejected:
                logger.warning("GOING ON FROM AN EARLIER CHECKPOINT, %s, because\n  %s", info.path, "\n  ".join(rejected))
            return info.path
        rejected.append(f"{info.path}: {problem}")
    rejected += [f"{info.path}: {info.problem}" for info in nameless]
    if rejected:
        raise RefusedError(f"No checkpoint in {directory} is good:\n  " + "\n  ".join(rejected))
    return None


def best(directory: str | os.PathLike[str], mode: str | None = None) -> Path | None:
    """The intact checkpoint with the best score.

    Args:
        directory: Where the checkpoints lie.
        mode: ``"min"`` or ``"max"``; default: what was said when they were saved.

    Returns:
        None if no checkpoint has a score.

    Raises:
        RefusedError: None of those with a score is good.
    """
    checkpoints = list_checkpoints(directory)
    scored = _by_score(checkpoints, mode or next((info.mode for info in checkpoints if info.mode), "min"))
    rejected = []
    for info in scored:
        problem = problem_of(info.path)
        if problem is None:
            if rejected:
                logger.warning("USING A CHECKPOINT WITH A WORSE SCORE, %s, because\n  %s", info.path, "\n  ".join(rejected))
            return info.path
        rejected.append(f"{info.path}: {problem}")
    if rejected:
        raise RefusedError(f"No checkpoint with a score in {directory} is good:\n  " + "\n  ".join(rejected))
    return None


def prune(directory: Path, retention: Retention) -> list[Path]:
    """Delete what need not be kept, and return it. A failure to delete is a warning: nothing is lost by it."""
    deleted = []
    for info in retention.surplus(list_checkpoints(directory)):
        try:
            take_away(info.path)
            deleted.append(info.path)
        except OSError as error:
            logger.warning("The old checkpoint %s cannot be deleted: %s", info.path, error.strerror)
    return deleted


def next_generation(directory: Path) -> int:
    """One more than the checkpoints in ``directory`` have."""
    return 1 + max((info.generation for info in list_checkpoints(directory)), default=0)


def _by_score(checkpoints: list[CheckpointInfo], mode: str) -> list[CheckpointInfo]:
    """Those with a score of the metric that was monitored last, the best first, of equal ones the newest."""
    scored = [info for info in checkpoints if info.score is not None]
    comparable = [info for info in scored if info.monitor == scored[0].monitor]
    return sorted(comparable, key=lambda info: info.score if mode == "min" else -info.score)  # pyright: ignore


def _age(info: CheckpointInfo) -> tuple[int, int]:
    return -info.generation, -(info.step or 0)


def _tidy(directory: Path) -> None:
    try:
        remove_orphans(directory)
    except OSError as error:  # one can go on from a directory that cannot be written to
        logger.debug("Leftovers in %s are not removed: %s", directory, error)


def _candidates(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    with os.scandir(directory) as entries:
        names = sorted(entry.name for entry in entries)
    return [directory / name for name in names if _is_candidate(directory, name)]


def _is_candidate(directory: Path, name: str) -> bool:
    if name.startswith("."):
        original = original_name(name)
        return original is not None and not os.path.lexists(directory / original)
    path = directory / name
    return step_in_name(name) is not None or any(os.path.lexists(path / member) for member in (MANIFEST, *MEMBERS))


def _info(path: Path, latest: str | None, thorough: bool) -> CheckpointInfo:
    is_latest = latest in (path.name, original_name(path.name))
    problem = problem_of(path, thorough)
    try:
        manifest = decoded_manifest(path)
    except RefusedError:
        return CheckpointInfo(path, step_in_name(path.name), is_latest=is_latest, problem=problem)
    facts = {name: getattr(manifest, name) for name in ("step", "epoch", "score", "monitor", "mode", "saved_at", "generation")}
    return CheckpointInfo(path, **facts, size=manifest.size, is_latest=is_latest, problem=problem)
