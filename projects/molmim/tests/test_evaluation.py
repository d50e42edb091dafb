"""The report of molecules with a stand-in for a trained task, whose answers are known."""

import numpy as np
import pytest
from PIL import Image

from projects.molmim.evaluation import MoleculeReport
from projects.molmim.picture import CAPTION_HEIGHT, CELL, draw_molecules, molecule_picture
from projects.molmim.tokenizer import SMILESTokenizer


pytest.importorskip("rdkit")
GIVEN = ["CCO", "c1ccccc1", "CCN", "CCCl"]
CHANGED = {"CCO": "OCC", "c1ccccc1": "c1ccccc"}


class Trained:
    """Writes ethanol another way, loses the ring of benzene, and gives the rest back."""

    tokenizer = SMILESTokenizer()

    def reconstruct(self, smiles):
        return [CHANGED.get(each, each) for each in smiles]

    def sample(self, n, seed, method):
        assert (seed, method) == (0, "sample")
        return (["CCO", "OCC", "C1CC", "CCC"] * n)[:n]

    def interpolate(self, first, last, steps):
        return [first] * (steps - 1) + ["C1CC"]


@pytest.fixture
def report(tmp_path):
    (tmp_path / "train.txt").write_text("CCO\nCC\n")
    return lambda **options: MoleculeReport(
        **{"path": str(tmp_path / "run" / "x.png"), "num_samples": 4, "num_pairs": 1, "steps": 3, **options},
        training_file=str(tmp_path / "train.txt"),
    )


def evaluated(report, batches):
    report.on_evaluation_epoch_start(Trained())
    for index, smiles in enumerate(batches):
        report.evaluation_step(Trained(), SMILESTokenizer()(smiles), index)
    return {name: float(value) for name, value in report.on_evaluation_epoch_end(Trained()).items()}


def test_metrics_are_those_counted_by_hand(report):
    expected = {"reconstruction": 2 / 4, "same_molecule": 3 / 4, "validity": 3 / 4, "uniqueness": 2 / 3, "novelty": 1 / 2}
    one = report()
    for _ in range(2):  # nothing is left of the epoch before
        assert evaluated(one, [GIVEN[:3], GIVEN[3:]]) == pytest.approx(expected)


def test_only_the_first_molecules_are_reconstructed(report):
    found = evaluated(report(num_reconstructions=3), [GIVEN[:2], GIVEN[2:], ["C"]])
    assert (found["reconstruction"], found["same_molecule"]) == pytest.approx((1 / 3, 2 / 3))


def test_the_interpolation_is_a_picture_with_a_row_a_pair(report, tmp_path):
    evaluated(report(num_pairs=2), [GIVEN])
    with Image.open(tmp_path / "run" / "x.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == (CELL[0] * 5, CAPTION_HEIGHT + 2 * CELL[1])


def test_no_picture_is_drawn_without_a_path(report, tmp_path):
    evaluated(report(path=None), [GIVEN])
    assert not (tmp_path / "run").exists()


def test_cells_hold_molecules_or_what_is_none(tmp_path):
    draw_molecules(tmp_path / "x.png", [["CCO", "C1CC"]], ["a", "b"], framed=[1])
    sheet = np.asarray(Image.open(tmp_path / "x.png"))[CAPTION_HEIGHT:]
    for column, smiles in enumerate(["CCO", "C1CC"]):
        cell = sheet[:, column * CELL[0] : (column + 1) * CELL[0]]
        expected = np.asarray(molecule_picture(smiles))
        assert np.array_equal(cell[5:-5, 5:-5], expected[5:-5, 5:-5])
        assert 0 < (expected < 200).any(-1).mean() < 0.3  # something is drawn on white
    assert (sheet[0, CELL[0] + 1] != 255).any()  # the frame
