"""What it costs to normalise images in the workers of a loader instead of on the device."""

import resource
import statistics
import time
from collections.abc import Callable


import mmkit  # noqa: F401  # isort: skip  (it makes torchvision importable, which lightning imports)
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmkit.datasets.transforms import image_train_transform
from mmkit.modules.layers import ImageNormalize


BATCH_SIZE = 64
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation


class Pixels(Dataset[Tensor]):
    """Decoded images of 256 px, cropped to 224; as bytes, or normalised by the worker."""

    def __init__(self, num: int, crop: Callable[[Tensor], Tensor], normalize: bool) -> None:
        self.images = torch.randint(0, 256, (64, 3, 256, 256), dtype=torch.uint8)
        self.num, self.crop, self.normalize = num, crop, normalize
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Tensor:
        image = self.crop(self.images[index % 64])
        return (image / 255 - self.mean) / self.std if self.normalize else image


def cut(image: Tensor) -> Tensor:
    """The cheapest crop: a corner, without resampling."""
    return image[:, :224, :224].contiguous()


def loader(rounds: int, steps: int) -> None:
    """Examples per second that leave the loader."""
    transform = image_train_transform(224)
    print(f"{'':<64}{'examples / CPU s':>18}{'examples / s':>14}")
    for kind, crop in (("cut", cut), ("random resized crop and flip", transform)):
        rates: dict[str, list[tuple[float, float]]] = {
            "float, normalised in the worker": [],
            "uint8": [],
            "uint8, then normalised": [],
        }
        for _ in range(rounds):
            for name, record in rates.items():
                dataset = Pixels(steps * BATCH_SIZE, crop, normalize=name.startswith("float"))
                consume = ImageNormalize("imagenet") if name.endswith("then normalised") else torch.nn.Identity()
                record.append(_read_all(DataLoader(dataset, BATCH_SIZE, num_workers=1), len(dataset), consume))
        medians = {name: [statistics.median(values) for values in zip(*record, strict=True)] for name, record in rates.items()}
        base = next(iter(medians.values()))
        for name, values in medians.items():
            columns = (f"{value:.0f} ({value / of:.2f}x)" for value, of in zip(values, base, strict=True))
            print(f"{kind + ': ' + name:<64}" + "{:>18}{:>14}".format(*columns))


def _read_all(batches: DataLoader, num: int, consume: nn.Module) -> tuple[float, float]:
    def cpu() -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    before, start = cpu(), time.perf_counter()
    for batch in batches:
        consume(batch)
    wall = time.perf_counter() - start
    return num / (cpu() - before), num / wall
