"""Work in a daemon thread, which is abandoned if it cannot be interrupted and ends with the program."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")
NAME = "dse: apart"
"""How such threads are called."""


def apart(ask: Callable[[], Answer]) -> Future[Answer]:
    """What `ask` answers, when it does."""
    asked: Future[Answer] = Future()

    def work() -> None:
        try:
            asked.set_result(ask())
        except BaseException as error:  # whatever it is, who asked is told
            asked.set_exception(error)

    threading.Thread(target=work, name=NAME, daemon=True).start()
    return asked


def is_left_behind() -> bool:
    """Whether such a thread still works."""
    return any(t.name == NAME for t in threading.enumerate())
