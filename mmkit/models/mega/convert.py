"""``python -m mmkit.models.mega.convert SRC DST``: turn a Mega checkpoint into a folder for ``from_pretrained``.

SRC is a fairseq checkpoint of the original implementation, or a folder of the Hugging Face port (transformers 4). Only tensors
and plain settings are read: nothing in the file is executed. DST gets config.json and model.safetensors.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from mmkit.errors import MMKitError
from mmkit.models.mega.checkpoint_files import read_json
from mmkit.models.mega.conversion import ARCHITECTURES, MisfitError, Wanted, convert


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m mmkit.models.mega.convert",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Turn a Mega checkpoint into a folder for from_pretrained. Nothing in the checkpoint is executed.",
        epilog="exit codes: 0 written; 2 wrong usage or settings; 3 the checkpoint is refused, nothing was written.\n\n"
        "The original's padding_mask is True at padding and its layers are time-major; the converted model takes\n"
        "attention_mask = ~padding_mask and (batch, length) tokens.",
    )
    parser.add_argument("source", metavar="SRC", type=Path, help="fairseq checkpoint (.pt), or folder of a Hugging Face model")
    parser.add_argument("destination", metavar="DST", type=Path, help="folder to write; must not exist")
    parser.add_argument("--architecture", choices=ARCHITECTURES, help="model class; by default what the checkpoint's heads tell")
    parser.add_argument("--part", choices=("encoder", "decoder"), help="which half of an original encoder-decoder")
    parser.add_argument("--config", metavar="JSON", type=Path, help="file of MegaConfig keywords, counting more than SRC's")
    parser.add_argument("--partial", action="store_true", help="write even if tensors are missing or have no place")
    parser.add_argument("--overwrite", action="store_true", help="replace the model in DST")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    given = _parser().parse_args(argv)
    if given.config and not given.config.is_file():
        _parser().error(f"argument --config: there is no file {given.config}")
    try:
        settings = read_json(given.config) if given.config else {}
        wanted = Wanted(given.architecture, given.part, settings, given.partial)
        report = convert(given.source, given.destination, wanted, given.overwrite)
    except MMKitError as error:
        if isinstance(error, MisfitError):
            print(error.report.text())
        print(f"convert: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("convert: interrupted", file=sys.stderr)
        return 130
    print(f"{report.text()}\nWritten to {given.destination}.")
    return 0


if __name__ == "__main__":
    logging.disable_progress_bar()
    sys.exit(main())
