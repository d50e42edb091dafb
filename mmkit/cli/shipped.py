"""The choices of site and hardware that mmkit ships."""

from pathlib import Path

import mmkit


def shipped_configs() -> list[str]:
    """Their place, as an entry of the search path."""
    package = Path(mmkit.__file__).parent
    folders = [package / "configs", package.parent / "configs"]  # inside a wheel; in the repository
    return [f"file://{folder}" for folder in folders if (folder / "trainer").is_dir()][:1]
