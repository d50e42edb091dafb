import io
import logging
import warnings

import pytest

from mmkit.experiment.ranks import first_rank_speaks


@pytest.fixture
def said(monkeypatch):
    """What handlers of the root logger write: one like that of a console, and one like that of a file."""

    class FileLike(logging.StreamHandler):
        pass

    console, file = logging.StreamHandler(io.StringIO()), FileLike(io.StringIO())
    monkeypatch.setattr(logging.getLogger(), "handlers", [console, file])
    return lambda: (console.stream.getvalue(), file.stream.getvalue())


@pytest.mark.filterwarnings("default")
def test_other_ranks_keep_log_lines_and_warnings_from_the_screen(said, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with first_rank_speaks():
        logging.getLogger("tests.ranks").warning("a log line")
        warnings.warn("a warning", stacklevel=1)
        logging.getLogger("tests.ranks").error("an error")
    logging.getLogger("tests.ranks").warning("afterwards")
    console, file = said()
    assert console == "an error\nafterwards\n"
    assert all(text in file for text in ("a log line", "a warning", "an error"))


def test_the_first_rank_says_everything(said):
    with first_rank_speaks():
        logging.getLogger("tests.ranks").warning("a log line")
    assert said() == ("a log line\n", "a log line\n")
