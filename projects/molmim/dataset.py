"""The data set ``MosesSMILES``."""

from typing import Any

from torch.utils.data import Dataset

from mmkit.conf import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example, Modalities
from mmkit.datasets.text.dataset import TextMMap
from projects.molmim.recipe import MosesRecipe


#: Of the published training set, every molecule whose number is 157 modulo this one is in the validation set; the file has
#: stretches of alike molecules, so that its last lines would not stand for the rest.
STRIDE = 158
SPLITS = ("train", "val", "test", "test_scaffolds")
_TYPICAL = "CC(C)(C)c1ccc2occ(CC(=O)Nc3ccccc3F)c2c1"


@external_store(group="datasets")
class MosesSMILES(Dataset[Example]):
    """Molecules of MOSES as SMILES strings; made by ``mmkit data prepare moses``.

    An example has the string (``text``) and ``example_index``, its line in the file.

    Args:
        split: ``"train"`` (1,574,634), ``"val"`` (10,029, every 158th of the published training set), ``"test"`` (176,074) or
            ``"test_scaffolds"`` (176,225, whose scaffolds the others do not have).

    Raises:
        ValueError: An unknown split.
        RefusedError: The data is not prepared; says what to type.
    """

    def __init__(self, split: str = "train") -> None:
        if split not in SPLITS:
            raise ValueError(f"MosesSMILES: unknown split {split!r}. Allowed: {', '.join(SPLITS)}.")
        name = "train" if split == "val" else split
        self.split = split
        self._texts = TextMMap(str(MosesRecipe().locate() / f"{name}.txt"))

    @staticmethod
    def example_spec(**arguments: Any) -> Example:
        """An example without data, for ``mmkit plan``: a molecule of typical length.

        Args:
            **arguments: The constructor's, which do not change it.
        """
        return Example({EXAMPLE_INDEX_KEY: 0, Modalities.TEXT.name: _TYPICAL})

    def __len__(self) -> int:
        num_val = len(self._texts) // STRIDE
        return {"train": len(self._texts) - num_val, "val": num_val}.get(self.split, len(self._texts))

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"Index {index} is out of range for {len(self)} molecules.")
        line = {"train": index + index // (STRIDE - 1), "val": (index + 1) * STRIDE - 1}.get(self.split, index)
        return self._texts[line]
