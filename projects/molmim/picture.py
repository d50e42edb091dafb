"""Molecules drawn side by side."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mmkit.extras import require
from projects.molmim.chemistry import molecule


CELL, CAPTION_HEIGHT = (200, 170), 24  # pixels
GIVEN = (30, 90, 200)


def draw_molecules(path: str | Path, rows: Sequence[Sequence[str]], captions: Sequence[str], framed: Sequence[int] = ()) -> None:
    """Draw a table of molecules.

    Args:
        path: Where the PNG is written.
        rows: SMILES strings of each row; what is no molecule is written as it is, in grey.
        captions: What stands over each column.
        framed: Columns with a frame.
    """
    width, height = CELL
    sheet = Image.new("RGB", (width * len(captions), CAPTION_HEIGHT + height * len(rows)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for column, caption in enumerate(captions):
        draw.text((column * width + width // 2, CAPTION_HEIGHT // 2), caption, "black", font, anchor="mm")
        for row, smiles in enumerate(rows):
            corner = (column * width, CAPTION_HEIGHT + row * height)
            sheet.paste(molecule_picture(smiles[column]), corner)
            if column in framed:
                draw.rectangle((*corner, corner[0] + width - 1, corner[1] + height - 1), outline=GIVEN, width=2)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def molecule_picture(smiles: str) -> Image.Image:
    """The molecule as chemists draw it; of a string that is none, the string in grey."""
    found = molecule(smiles)
    if found is None:
        return _written(smiles)
    drawing = require("rdkit.Chem.Draw.rdMolDraw2D", extra="chem", needed_by="MoleculeReport")
    canvas = drawing.MolDraw2DCairo(*CELL)
    drawing.PrepareAndDrawMolecule(canvas, found)
    canvas.FinishDrawing()
    return Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")


def _written(smiles: str) -> Image.Image:
    picture = Image.new("RGB", CELL, "white")
    lines = [smiles[first : first + 24] for first in range(0, len(smiles), 24)]
    text = "\n".join(["no molecule", *lines])
    ImageDraw.Draw(picture).multiline_text((10, 10), text, "grey", ImageFont.load_default(size=12))
    return picture
