import subprocess
import sys

import pytest

import mmkit
from mmkit.extras import MissingExtraError, require


HEAVY = ("torch", "hydra", "lightning", "torchvision", "timm", "transformers", "wandb")


def test_import_mmkit_loads_neither_torch_nor_hydra():
    code = f"import sys, mmkit; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_that_mmkit_offers_loads():
    assert all(getattr(mmkit, name) is not None for name in mmkit.__all__)


def test_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(AttributeError, match=r"no attribute 'Exmaple'. It offers: CombinedDataset"):
        mmkit.Exmaple  # noqa: B018


def test_missing_package_is_one_line_that_says_what_to_install():
    with pytest.raises(MissingExtraError, match=r"^TimmEncoder needs `pip install mmkit\[vision\]` \(package 'no_such_package'"):
        require("no_such_package.sub", extra="vision", needed_by="TimmEncoder")


def test_error_inside_an_installed_package_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "half_broken.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency") as caught:
        require("half_broken", extra="vision", needed_by="X")
    assert not isinstance(caught.value, MissingExtraError)


def test_torchvision_and_what_imports_it_load_beside_a_cpu_torch():
    code = "import mmkit, torchvision, timm, torchmetrics; from torchvision.transforms import v2; print(v2.Resize.__name__)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "Resize", done.stderr
