import io
import logging
import threading

import pytest

from mmkit.log_handlers import screen_handlers


@pytest.fixture
def logger(monkeypatch):
    """A logger whose handlers are gone after the test."""
    logger = logging.getLogger("tests.log_handlers.below.another")
    monkeypatch.setattr(logger, "handlers", [])
    return logger


def test_a_handler_of_two_loggers_is_found_once_and_one_for_a_file_is_not(logger, monkeypatch, tmp_path):
    screen, file = logging.StreamHandler(io.StringIO()), logging.FileHandler(tmp_path / "log", delay=True)
    logger.handlers = [screen, file]
    monkeypatch.setattr(logging.getLogger(), "handlers", [screen])
    found = screen_handlers()
    assert found.count(screen) == 1
    assert file not in found


def test_looking_makes_no_loggers_and_bears_those_that_others_make(logger, monkeypatch):
    table = logging.root.manager.loggerDict
    before = {name: type(each) for name, each in table.items()}
    screen_handlers()
    assert {name: type(each) for name, each in table.items()} == before
    monkeypatch.setattr(logging.root.manager, "loggerDict", dict(table))
    done = threading.Event()

    def make():
        for number in range(2000):
            logging.getLogger(f"tests.log_handlers.{number}")
        done.set()

    thread = threading.Thread(target=make)
    thread.start()
    while not done.is_set():
        screen_handlers()
    thread.join()
