import subprocess
import sys

import pytest

from mmkit import extras
from mmkit.modules.encoders import HFCLIPTextEncoder, HFTextEncoder, TimmEncoder


def test_importing_the_encoders_imports_no_optional_package() -> None:
    code = (
        "import sys, mmkit.modules.encoders; "
        "print(*sorted({'torchvision', 'timm', 'transformers', 'peft', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


@pytest.mark.parametrize(
    ("encoder", "arguments", "extra"),
    [
        (HFTextEncoder, {}, "text"),
        (HFCLIPTextEncoder, {"config": {}}, "text"),
        (TimmEncoder, {"model_name": "resnet18"}, "vision"),
    ],
)
def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, encoder: type, arguments: dict, extra: str) -> None:
    for package in ("timm", "transformers"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(extras.MissingExtraError, match=rf"{encoder.__name__} needs `pip install mmkit\[{extra}\]`"):
        encoder(**arguments)
