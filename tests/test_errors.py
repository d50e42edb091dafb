import pytest

from mmkit.errors import first_line


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("Give a number.\nSee the guide.", "Give a number."),
        ("This cannot work:\n- a=1: give 2.\n- b=0: give 1.", "This cannot work: a=1: give 2. b=0: give 1."),
        ("", "ValueError"),
    ],
    ids=["one line", "a list", "nothing"],
)
def test_first_line_says_what_is_wrong(message, line):
    assert first_line(ValueError(message)) == line
