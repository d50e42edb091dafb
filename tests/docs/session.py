"""The terminal sessions of a page: ``$ commands`` and what they print, in blocks of ``console``.

``python tests/docs/session.py docs/cli.md`` types the commands of the page in an empty directory and writes what they print
into it. ``head=N`` after ``console`` keeps the first N lines of every output.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path


BLOCK = re.compile(r"^```console(?: head=(\d+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CUT = "...\n"


def commands(block: str) -> list[str]:
    """What is typed in a block."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def type_in(command: str, folder: Path) -> str:
    """What a command prints in a folder, on both streams, with paths as a user has them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {
        "PATH": path,
        "COLUMNS": "100",
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
        "MMKIT_DATA": f"{folder}/.cache/mmkit/data",
    }
    environment = os.environ | settings | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    text = done.stdout.replace(str(folder), "/home/ada")
    for installed in (sysconfig.get_path("purelib"), str(Path(__file__).parents[2])):
        text = text.replace(installed, "site-packages")
    return "\n".join(line.rstrip() for line in text.splitlines())


def played(page: str, folder: Path, tell: Callable[[str], None] = lambda _: None) -> str:
    """The page with the outputs that its commands have now, typed one after another."""

    def replay(match: re.Match[str]) -> str:
        head, block = match.groups()
        lines = []
        for command in commands(block):
            tell(command)
            output = type_in(command, folder).rstrip("\n").splitlines(keepends=True)
            if head and len(output) > int(head):
                output = [*output[: int(head)], CUT]
            lines += [f"$ {command}\n", "".join(output).rstrip("\n") + "\n" if output else ""]
        return f"```console{f' head={head}' if head else ''}\n{''.join(lines)}```"

    return BLOCK.sub(replay, page)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            Path(name).write_text(played(Path(name).read_text(), Path(folder).resolve(), print))
