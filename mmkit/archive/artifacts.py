"""Artifacts: files and folders that travel with a task, such as a vocabulary.

A component says which of its arguments name files::

    class WordTokenizer:
        artifact_arguments = ("vocab_file",)

Local files and folders given there go into the archive by themselves. A module that finds its files in another way calls
``register_artifact``. A module with arguments that only choose its first weights, which those of the archive replace, says
what they are in an archive, so that nothing is downloaded or read in vain:
``initial_weights_arguments = {"pretrained": False}``. A component that makes a file from others, such as a vocabulary from texts,
has a static ``archived_arguments(arguments)``, which returns the arguments that name the file instead.
"""

import hashlib
import logging
import os
import pickletools
import re
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mmkit.archive.format import stored_name, unsafe_path
from mmkit.archive.manifest import Artifact, Member, folder_digest
from mmkit.archive.reader import Archive
from mmkit.errors import RefusedError, UsageError


logger = logging.getLogger(__name__)

MAX_FILES = 2000  # of a folder; a data set is no artifact
_CODE = frozenset({".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh", ".exe"})
_CODE_OPCODES = frozenset({"GLOBAL", "INST", "STACK_GLOBAL", "REDUCE", "OBJ", "NEWOBJ", "BUILD"})
_PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt"})
_WEIGHTS = re.compile(r"(pytorch_model|model|tf_model|flax_model|adapter_model).*\.(safetensors|bin|h5|msgpack|index\.json)")


def problem_of_file(name: str, file: IO[bytes]) -> str | None:
    """Why a file is no artifact: it is code, or a pickle, which can run any code when it is loaded. None if it is."""
    suffix = Path(name).suffix.lower()
    if suffix in _CODE:
        return f"{name} is code"
    start = file.read(4)
    file.seek(0)
    is_pickle = suffix in _PICKLES or (len(start) > 1 and start[0] == 0x80 and 1 <= start[1] <= 5)
    if is_pickle or (start == b"PK\3\4" and _holds_pickle(file)) or _is_old_pickle(file):
        return f"{name} is a pickle; convert it (weights: safetensors.torch.save_file)"
    return None


def _is_old_pickle(file: IO[bytes]) -> bool:
    """Whether a file reads as a pickle that names code; those of the protocols 0 and 1 have no mark. Nothing is executed."""
    try:
        return any(opcode.name in _CODE_OPCODES for opcode, _, _ in list(pickletools.genops(file)))
    except Exception:  # what a text gives depends on its first letters
        return False
    finally:
        file.seek(0)


def _holds_pickle(file: IO[bytes]) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return any(Path(name).suffix.lower() in _PICKLES for name in archive.namelist())
    except zipfile.BadZipFile:
        return True
    finally:
        file.seek(0)


class Sources:
    """The files that go into an archive.

    Attributes:
        artifacts: Artifacts by reference.
        files: Path by member.
        members: Size and digest by member.
    """

    def __init__(self) -> None:
        self.artifacts: dict[str, Artifact] = {}
        self.files: dict[str, Path] = {}
        self.members: dict[str, Member] = {}

    def add(self, path: str | Path, without_weights: bool = False) -> str:
        """Take in a file or a folder and return its reference, ``<sha256>-<name>``.

        Args:
            path: The file or folder.
            without_weights: Leave out a folder's files of weights.

        Raises:
            UsageError: If it is absent, empty, code or a pickle.
        """
        path = Path(path).expanduser()
        if path.is_file():
            with path.open("rb") as file:
                if (problem := problem_of_file(path.name, file)) is not None:
                    raise UsageError(f"The artifact {str(path)!r} cannot be saved: {problem}.")
            files = {path.name: self._add_file(path)}
            digest = self.members[files[path.name]].sha256
        else:
            name_by_file = dict(_files_of(path, without_weights))
            files = {name: self._add_file(file) for name, file in name_by_file.items()}
            digest = folder_digest({name: self.members[member].sha256 for name, member in files.items()})
        name = path.resolve().name if path.name in ("", "..") else path.name
        for part in (name, *files):
            if (problem := unsafe_path(part)) is not None:
                raise UsageError(f"The artifact {str(path)!r} cannot be saved: the name {part!r} {problem}. Rename it.")
        reference = f"{digest}-{stored_name(name)}"
        self.artifacts[reference] = Artifact(name, path.is_dir(), files)
        return reference

    def _add_file(self, path: Path) -> str:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        member = f"artifacts/{digest}-{stored_name(path.name)}"
        self.files[member], self.members[member] = path, Member(path.stat().st_size, digest)
        return member


def _files_of(folder: Path, without_weights: bool) -> Iterator[tuple[str, Path]]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not _is_hidden(file.relative_to(folder))]
    if not files or len(files) > MAX_FILES:
        raise UsageError(f"The artifact {str(folder)!r} must be a file, or a folder of 1 to {MAX_FILES} files, not {len(files)}.")
    has_safetensors = any(file.suffix == ".safetensors" for file in files)
    for file in files:
        if without_weights and _WEIGHTS.fullmatch(file.name):
            continue
        with file.open("rb") as opened:
            problem = problem_of_file(file.name, opened)
        if problem is None:
            yield file.relative_to(folder).as_posix(), file
        elif "pickle" in problem and not has_safetensors:
            raise UsageError(f"The artifact {str(folder)!r} cannot be saved: {problem}.")
        else:
            logger.warning("The archive leaves out a file of %s: %s.", folder, problem)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "__pycache__")) for part in path.parts)


class ArtifactFolder:
    """The artifacts of one restored task, in a folder that is removed when nothing holds this object any more.

    Args:
        archive: Where they come from.
    """

    def __init__(self, archive: Archive) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="mmkit-"))
        self._remove = weakref.finalize(self, _remove, self.path, os.getpid())
        self._paths: dict[str, str] = {}
        for reference, artifact in archive.manifest.artifacts.items():
            self._paths[reference] = str(self._extract(archive, reference, artifact))

    def _extract(self, archive: Archive, reference: str, artifact: Artifact) -> Path:
        place = self.path / reference[:64] / artifact.name
        for name, member in artifact.files.items():
            target = place / name if artifact.folder else place
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            archive.copy(member, target)
            with target.open("rb") as file:
                if (problem := problem_of_file(name, file)) is not None:
                    raise RefusedError(f"The artifact {reference} cannot be used: {problem}.")
        return place

    def locate(self, reference: str) -> str:
        """Path of an artifact."""
        return self._paths[reference]

    def holds(self, path: str | Path) -> bool:
        """Whether a path lies in this folder."""
        return self.path in Path(path).parents and Path(path).exists()

    def __deepcopy__(self, memo: dict[int, Any]) -> "ArtifactFolder":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _borrowed, (self.path, self._paths)


def _borrowed(path: Path, paths: dict[str, str]) -> ArtifactFolder:
    folder = object.__new__(ArtifactFolder)  # another process reads the files; who made them removes them
    folder.path, folder._paths = path, paths
    return folder


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in a forked worker
        shutil.rmtree(path, ignore_errors=True)
