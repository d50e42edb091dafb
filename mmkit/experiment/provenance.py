"""Where a run comes from: code, versions, machine, command, data. Written without secrets."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

import mmkit
from mmkit.experiment.redaction import redact, redact_command, redact_text, secrets_of


DIFF_BYTES = 2_000_000
# Variables that change what a run does or where; everything else of the environment is nobody's business.
_VARIABLES = (
    "CUDA_",
    "NCCL_",
    "OMP_",
    "MKL_",
    "SLURM_JOB",
    "SLURM_ARRAY",
    "SLURM_NTASKS",
    "MMKIT_",
    "PYTORCH_",
    "TORCH_",
    "WORLD_SIZE",
)


def provenance(data: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about this attempt of a run.

    Args:
        data: Digests of the data sets.
    """
    secrets = secrets_of()
    facts = {
        "command": redact_command([Path(sys.argv[0]).name, *sys.argv[1:]], secrets),
        "directory": str(Path.cwd()),
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": _processor(),
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "python": platform.python_version(),
        "mmkit": mmkit.__version__,
        "packages": dict(sorted((each.metadata["Name"], each.version) for each in distributions())),
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)},
        "code": {"project": code_state(Path.cwd(), secrets), "mmkit": code_state(Path(mmkit.__file__).parent, secrets)},
        "data": dict(data),
    }
    return redact(facts, secrets)


def code_state(folder: Path, secrets: list[str]) -> dict[str, Any] | None:
    """Revision, branch and uncommitted changes of the git checkout around a folder; None if there is none."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    if root is None:
        return None
    diff = _git(folder, "diff", "HEAD", "--no-color") or ""
    untracked = (_git(folder, "ls-files", "--others", "--exclude-standard", "--full-name") or "").splitlines()
    return {
        "root": root,
        "revision": _git(folder, "rev-parse", "HEAD"),
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "dirty": bool(diff or untracked),
        "untracked": untracked[:1000],
        "diff": redact_text(diff[:DIFF_BYTES], secrets) + ("\n… cut" if len(diff) > DIFF_BYTES else ""),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
