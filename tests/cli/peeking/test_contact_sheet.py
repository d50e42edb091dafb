import pytest
from PIL import Image

from mmkit.cli.peeking.contact_sheet import write_sheet
from mmkit.cli.peeking.examples import View
from mmkit.errors import MMKitError


COLOURS = [(200, 10, 10), (10, 200, 10), (10, 10, 200), (200, 200, 10), (10, 200, 200)]


def view(texts=True):
    pictures = [(number, Image.new("RGB", (40, 20), colour)) for number, colour in enumerate(COLOURS)]
    told = [(number, number, "a text that is much too long to stand under a picture " * 3) for number in range(5)]
    return View("datasets.train", "Pairs", 5, [], ["text"] if texts else [], told if texts else [], {"rgb": pictures})


@pytest.mark.parametrize("texts", [True, False])
def test_every_picture_is_on_the_sheet(tmp_path, texts):
    assert write_sheet([view(texts), view(texts)], tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png")
    counts = {colour: count for count, colour in sheet.getcolors(2**24) or []}
    assert all(counts[colour] == 2 * 160 * 80 for colour in COLOURS)  # 40 × 20, enlarged to 160 wide, on two views


def test_no_picture_no_sheet(tmp_path):
    assert not write_sheet([View("a", "b", 1)], tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_a_sheet_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(MMKitError, match=r"cannot be written: No such file or directory\. Name another file with --sheet"):
        write_sheet([view()], tmp_path / "missing" / "sheet.png")
