"""The handlers by which log lines reach the screen."""

import logging


def screen_handlers() -> list[logging.StreamHandler]:
    """Every handler of any logger that writes to a stream, each once; those that write files are not among them."""
    # As a list: other threads make loggers meanwhile. What only stands for one to come has no handlers.
    named = [each for each in list(logging.root.manager.loggerDict.values()) if isinstance(each, logging.Logger)]
    handlers = dict.fromkeys(handler for logger in (logging.root, *named) for handler in list(logger.handlers))
    return [handler for handler in handlers if type(handler) is logging.StreamHandler]
