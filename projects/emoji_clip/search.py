"""Free-text search with a trained model: ``python -m projects.emoji_clip.search "something to drink"``."""

import argparse
import sys
from pathlib import Path

from mmkit.cli.run import main as mmkit_run
from mmkit.conf.run_version import newest_run


def main() -> None:
    """Run the experiment ``emoji_search`` on the newest model, or on the one that is named."""
    parser = argparse.ArgumentParser("python -m projects.emoji_clip.search", description=__doc__)
    parser.add_argument("query", help="what to look for; several texts are separated by |")
    parser.add_argument("--checkpoint", type=Path, help="default: the newest one of emoji_clip under outputs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="further overrides, as for mmkit_run")
    arguments = parser.parse_intermixed_args()
    checkpoint = arguments.checkpoint or newest_run(Path("outputs") / "emoji_clip", with_checkpoints=True)
    if checkpoint is None:
        parser.error("there is no trained model under outputs/. Type: mmkit_run +experiment=emoji_clip")
    model = f"resume_from_checkpoint={_quoted(str(checkpoint))}"
    query = f"task.evaluation_tasks.search.task.query={_quoted(arguments.query)}"
    sys.argv[1:] = ["+experiment=emoji_search", model, query, *arguments.overrides]
    mmkit_run()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


if __name__ == "__main__":
    main()
