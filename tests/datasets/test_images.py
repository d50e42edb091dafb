from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mmkit.datasets.images import as_rgb_tensor, load_image
from mmkit.errors import RefusedError


FORMATS = ["png", "jpg", "webp", "bmp", "gif"]


def noise(height: int = 20, width: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_an_image_file_becomes_its_pixels(tmp_path: Path) -> None:
    noise().save(tmp_path / "noise.png")
    image = load_image(tmp_path / "noise.png")
    assert image.dtype == torch.uint8
    assert image.permute(1, 2, 0).tolist() == np.asarray(noise()).tolist()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"half.{suffix}"
    noise().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RefusedError, match=rf"half\.{suffix} .*(cannot be read|is no image)"):
        load_image(path)


def test_a_file_that_is_missing_or_no_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"The image .*nothing\.png does not exist"):
        load_image(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(RefusedError, match=r"text\.png is no image in a format that Pillow knows"):
        load_image(tmp_path / "text.png")


class OneTruncatedImage(torch.utils.data.Dataset):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        return load_image(self.path)


def test_the_error_about_a_truncated_file_passes_through_a_worker(tmp_path: Path) -> None:
    noise().save(tmp_path / "half.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:500])
    with pytest.raises(RefusedError, match=r"half\.png cannot be read"):
        next(iter(DataLoader(OneTruncatedImage(tmp_path / "half.png"), num_workers=1)))


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK"])
def test_every_mode_becomes_rgb_bytes(mode: str) -> None:
    image = as_rgb_tensor(noise().convert(mode))
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 20, 30))
    assert image.is_contiguous()


def test_transparent_pixels_show_the_background() -> None:
    rgba = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 255], [200, 100, 0, 128]], dtype=torch.uint8).T.reshape(4, 1, 3)
    expected_white = [[255, 0, 227], [255, 0, 177], [255, 0, 127]]  # c·a + 255·(1 - a), rounded
    assert as_rgb_tensor(rgba).reshape(3, 3).tolist() == expected_white
    assert as_rgb_tensor(Image.fromarray(rgba.permute(1, 2, 0).numpy())).reshape(3, 3).tolist() == expected_white
    assert as_rgb_tensor(rgba, background=(9, 0, 7))[:, 0, 0].tolist() == [9, 0, 7]


def test_a_palette_image_with_a_transparent_colour_shows_the_background() -> None:
    image = Image.new("P", (1, 1), 0)
    image.putpalette([10, 20, 30])
    assert as_rgb_tensor(image).flatten().tolist() == [10, 20, 30]
    image.info["transparency"] = 0
    assert as_rgb_tensor(image).flatten().tolist() == [255, 255, 255]


def test_a_grey_tensor_gets_three_equal_channels() -> None:
    grey = torch.arange(6, dtype=torch.uint8).view(1, 2, 3)
    assert as_rgb_tensor(grey).tolist() == [grey[0].tolist()] * 3


def test_what_is_no_image_is_described() -> None:
    with pytest.raises(TypeError, match=r"Expected a Pillow image or a uint8 tensor \(C, H, W\), got str"):
        as_rgb_tensor("cat.png")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"uint8 until the encoder normalises them, got torch\.float32"):
        as_rgb_tensor(torch.zeros(3, 2, 2))
    with pytest.raises(ValueError, match=r"1, 3 or 4 channels, got shape \(2, 3, 4, 4\)"):
        as_rgb_tensor(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
