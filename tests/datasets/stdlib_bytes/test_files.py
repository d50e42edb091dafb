from pathlib import PurePosixPath

import pytest

from mmkit.datasets.stdlib_bytes.files import SPLITS, find_sources, split_of, standard_library


def test_sources_are_found_and_sorted_without_tests_and_packages(tmp_path):
    wanted = ["abc.py", "json/decoder.py", "json/encoder.py"]
    others = [
        "site-packages/torch/nn.py",
        "test/test_abc.py",
        "json/tests/test_json.py",
        "idlelib/run.py",
        "encodings/cp037.py",
        "__pycache__/abc.py",
        "config-3.11-x86_64/python-config.py",
        "_sysconfigdata__linux.py",
        "LICENSE.txt",
    ]
    for name in [*others, *reversed(wanted)]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path) for path in find_sources(tmp_path)] == wanted


def test_this_python_has_source_in_every_split():
    splits = {split_of(path) for path in find_sources(standard_library())}
    assert splits == set(SPLITS)


@pytest.mark.parametrize(
    ("path", "split"),
    [("abc.py", "train"), ("datetime.py", "test"), ("asyncio/queues.py", "val"), ("argparse.py", "train")],
)
def test_a_file_stays_in_its_split(path, split):
    assert split_of(PurePosixPath(path)) == split


def test_splits_have_about_their_shares():
    splits = [split_of(PurePosixPath(f"folder/module_{number}.py")) for number in range(5000)]
    assert [round(splits.count(split) / 500) for split in SPLITS] == [8, 1, 1]
