"""The Python of the page on Mega is run as it stands, and its table of files is held against the package."""

import re
import subprocess
import sys
from pathlib import Path

import mmkit.models.mega as mega


PAGE = (Path(__file__).parents[2] / "docs" / "mega.md").read_text()


def test_python_of_the_page_runs(tmp_path):
    (tmp_path / "snippets.py").write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)))
    done = subprocess.run([sys.executable, "snippets.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_that_the_page_names_exist():
    table = PAGE.partition("## From the paper to the code")[2].partition("\n## ")[0]
    names = re.findall(r"`(\w+\.py)`", table)
    assert len(names) > 10
    assert [name for name in names if not (Path(mega.__file__).parent / name).exists()] == []
