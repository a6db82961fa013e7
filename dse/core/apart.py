"""Long work: in a daemon thread, which is abandoned if it cannot be interrupted; and how much of it is done."""

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


class Done(str):
    """A line of progress such as "7 of 9 draws" that keeps its numbers, from which the time left is told."""

    n: int
    total: int

    def __new__(cls, n: int, total: int, what: str) -> Done:
        """`n` of `total` are done; `what` goes on with the line: what is counted, and anything beside it."""
        made = super().__new__(cls, f"{n} of {total} {what}")
        made.n, made.total = n, total
        return made
