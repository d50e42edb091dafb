"""The written report with a stand-in for a trained task, whose answers are known."""

from mmkit.datasets.tokenizers import ByteTokenizer
from projects.apidoc_vae.evaluation import TextReport


class Trained:
    """Reads in capitals and knows two texts."""

    tokenizer = ByteTokenizer()

    def reconstruct(self, texts):
        return [text.upper() for text in texts]

    def sample(self, n, seed, method):
        assert (seed, method) == (3, "greedy")
        return (["one", "two"] * n)[:n]

    def interpolate(self, first, last, steps):
        return [f"{first}-{last}"] * steps


def test_what_was_given_and_what_came_is_written(tmp_path):
    report = TextReport(str(tmp_path / "run" / "texts.txt"), num_reconstructions=3, num_samples=4, steps=2, seed=3)
    for _ in range(2):  # nothing is left of the epoch before
        report.on_evaluation_epoch_start(Trained())
        for index, texts in enumerate([["a", "b"], ["c", "d"]]):
            report.evaluation_step(Trained(), ByteTokenizer()(texts), index)
        assert report.on_evaluation_epoch_end(Trained()) == {"different": 2 / 4}
    lines = (tmp_path / "run" / "texts.txt").read_text().splitlines()
    assert lines[2:11] == ["a", "A", "", "b", "B", "", "c", "C", ""]
    assert lines[11:18] == ["Samples of the prior", "", "one", "two", "one", "two", ""]
    assert lines[18:] == ["From the first text to the second", "", "a-b", "a-b"]


def test_an_epoch_without_data_has_samples_only(tmp_path):
    report = TextReport(str(tmp_path / "texts.txt"), num_samples=1, seed=3)
    report.on_evaluation_epoch_start(Trained())
    assert report.on_evaluation_epoch_end(Trained()) == {"different": 1.0}
    assert "one" in (tmp_path / "texts.txt").read_text()
