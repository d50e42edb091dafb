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


DIFF_LENGTH = 2_000_000
# Variables that change what a run does or where; everything else of the environment is nobody's business.
_VARIABLES = (
    "CONDA_DEFAULT_ENV", "CUBLAS_", "CUDA_", "HF_HOME", "LD_LIBRARY_PATH", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_",
    "MKL_", "MMKIT_", "NCCL_", "NODE_RANK", "OMP_", "PYTHONHASHSEED", "PYTHONPATH", "PYTORCH_", "RANK", "SLURM_", "TORCH_",
    "TORCHELASTIC_", "VIRTUAL_ENV", "WORLD_SIZE",
)  # fmt: skip


def provenance(data: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about this attempt of a run.

    Args:
        data: Digests of the data sets.
    """
    secrets = secrets_of()
    project, library = code_state(Path.cwd(), secrets), code_state(Path(mmkit.__file__).parent, secrets)
    facts = {
        "command": redact_command([Path(sys.argv[0]).name, *sys.argv[1:]], secrets),
        "directory": str(Path.cwd()),
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": _processor(),
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "python": platform.python_version(),
        "mmkit": mmkit.__version__,
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)},
        "code": {"project": project, "mmkit": library if library != project else "in the checkout of the project"},
        "data": dict(data),
    }
    return {**redact(facts, secrets), "packages": packages()}  # names such as PyJWT are no secrets


def packages() -> dict[str, str]:
    """The installed packages and their versions."""
    found = {each.name: each.version for each in distributions() if each.name}  # a broken one has no name
    return dict(sorted(found.items(), key=lambda package: package[0].lower()))


def code_state(folder: Path, secrets: list[str]) -> dict[str, Any] | None:
    """Revision, branch and uncommitted changes of the git checkout around a folder; None if there is none."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    if root is None:
        return None
    folder = Path(root)
    diff = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff") or ""
    untracked = (_git(folder, "ls-files", "--others", "--exclude-standard", "--full-name") or "").splitlines()
    return {
        "root": root,
        "revision": _git(folder, "rev-parse", "HEAD"),
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "dirty": bool(diff or untracked),
        "untracked": untracked[:1000],
        "diff": redact_text(_shortened(diff), secrets),
    }


def _shortened(diff: str) -> str:
    whole_lines = diff[:DIFF_LENGTH].rpartition("\n")[0]  # a secret cut in two would not be known as one
    return diff if len(diff) <= DIFF_LENGTH else f"{whole_lines}\n… {len(diff) - len(whole_lines):,} more characters"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # only look: other processes may work in the checkout
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, timeout=60, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
