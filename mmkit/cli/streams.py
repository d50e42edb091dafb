"""Standard output and error as they are: any encoding, and a reader that may leave."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def prepare_streams() -> None:
    """Print a replacement for what the terminal's encoding lacks, instead of ending in a ``UnicodeEncodeError``."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")


@contextmanager
def answering() -> Iterator[None]:
    """Print an answer; end quietly when who reads it has read enough, as ``| head`` does."""
    prepare_streams()
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter tells of it once more
        raise SystemExit(0) from None
