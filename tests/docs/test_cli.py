"""What docs/cli.md shows is what its commands print."""

import re
from pathlib import Path

import pytest

from mmkit.cli.main import COMMANDS
from mmkit.cli.preflight import CODES
from tests.docs.session import BLOCK, commands, played


PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

# Numbers, times, versions of runs and digests are another every time; so is what a line says about code and machine.
OTHER_EVERY_TIME = [
    (re.compile(r"^ *(code|mmkit|versions|machine)\b.*\n", re.MULTILINE), ""),
    (re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\w{4}"), "VERSION"),
    (re.compile(r"\b[0-9a-f]{8,10}\b"), "DIGEST"),
    (re.compile(r"\d[\d.,:]*( (s|min|h)\b)?( \d+ s\b)?"), "N"),
    (re.compile(r"[ \u2014-]+"), " "),
]


def alike(text):
    for pattern, replacement in OTHER_EVERY_TIME:
        text = pattern.sub(replacement, text)
    return text


def test_every_command_is_shown():
    typed = " ".join(command for match in BLOCK.finditer(PAGE.read_text()) for command in commands(match[2]))
    for name in [name for name in COMMANDS if name != "verify"]:
        assert f"mmkit {name}" in typed, name


def test_every_code_is_explained():
    text = PAGE.read_text()
    assert [code for code, meaning in CODES.items() if f"| {code} | {meaning} |" not in text] == []


@pytest.mark.slow
def test_the_page_shows_what_is_printed(tmp_path):
    page = PAGE.read_text()
    assert alike(played(page, tmp_path)) == alike(page)
