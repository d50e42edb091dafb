"""A data set of short texts with a class, for experiments of these tests."""

from torch.utils.data import Dataset

from mmkit.datasets.core import Example


WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "while", "nobody", "looks"]


class Texts(Dataset):
    def __init__(self, size: int = 12):
        self.size = size

    @staticmethod
    def example_spec(size=12):
        return Example({"example_index": 0, "text": "the quick brown fox", "text_target": 0})

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        words = [WORDS[(index + i) % len(WORDS)] for i in range(1 + index % 3)]
        return Example({"example_index": index, "text": " ".join(words), "text_target": index % 2})


class OnlyTexts(Texts):
    """Without a class, whose key masked tokens would take."""

    @staticmethod
    def example_spec(size=12):
        return Example({"example_index": 0, "text": "the quick brown fox"})

    def __getitem__(self, index):
        example = super().__getitem__(index)
        del example["text_target"]
        return example
