"""Pictures of examples on one sheet, with what they are."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mmkit.cli.peeking.examples import View
from mmkit.errors import MMKitError


_SIDE, _GAP, _COLUMNS = 160, 12, 4
_TITLE, _LINE = 26, 16
_INK, _PAPER, _FADED = (20, 20, 20), (250, 250, 250), (110, 110, 110)


def write_sheet(views: Sequence[View], path: Path) -> bool:
    """Write a PNG with the pictures of all views.

    Returns:
        Whether there is any picture.

    Raises:
        MMKitError: The file cannot be written.
    """
    blocks = [(view, key) for view in views for key in view.pictures]
    if not blocks:
        return False
    texts = max((len(view.text_keys) for view, _ in blocks), default=0)
    row = _SIDE + _LINE * (1 + min(2, texts)) + _GAP
    heights = [_TITLE + row * -(-len(view.pictures[key]) // _COLUMNS) for view, key in blocks]
    sheet = Image.new("RGB", (_GAP + _COLUMNS * (_SIDE + _GAP), sum(heights) + _GAP), _PAPER)
    top = _GAP
    for (view, key), height in zip(blocks, heights, strict=True):
        _draw_block(sheet, view, key, top, row)
        top += height
    try:
        sheet.save(path, format="PNG")
    except OSError as error:
        raise MMKitError(f"{path} cannot be written: {error.strerror or error}. Name another file with --sheet.") from None
    return True


def _draw_block(sheet: Image.Image, view: View, key: str, top: int, row: int) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, top), f"{view.name}  {key}", fill=_INK, font=ImageFont.load_default(15))
    labels = {number: (f"{number}  id {identity}", *texts) for number, identity, *texts in view.texts}
    for position, (number, picture) in enumerate(view.pictures[key]):
        left = _GAP + position % _COLUMNS * (_SIDE + _GAP)
        upper = top + _TITLE + position // _COLUMNS * row
        _paste(sheet, picture, left, upper)
        for index, text in enumerate(labels.get(number, (str(number),))[:3]):
            _draw_label(draw, text, left, upper + _SIDE + 2 + index * _LINE, _FADED if index == 0 else _INK)


def _paste(sheet: Image.Image, picture: Image.Image, left: int, upper: int) -> None:
    scale = _SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Small pictures are enlarged pixel by pixel: their pixels are what the model sees.
    resized = picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    sheet.paste(resized, (left + (_SIDE - size[0]) // 2, upper + (_SIDE - size[1]) // 2))
    ImageDraw.Draw(sheet).rectangle((left - 1, upper - 1, left + _SIDE, upper + _SIDE), outline=(210, 210, 210))


def _draw_label(draw: ImageDraw.ImageDraw, text: str, left: int, upper: int, fill: tuple[int, int, int]) -> None:
    font = ImageFont.load_default(12)
    while text and draw.textlength(text, font=font) > _SIDE:
        text = text[:-2].rstrip() + "…"
    draw.text((left, upper), text, fill=fill, font=font)
