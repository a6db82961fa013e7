"""Command line `dse COMMAND`: one file per group of commands, listed in `commands`.

This file holds only what is needed before they load (most of a second): Ctrl-C ends the program in one line even then.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

import lazy_loader

__getattr__, __dir__, _ = lazy_loader.attach(__name__, submod_attrs={"commands": ["Command", "main"]})

INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended."""
NEW_OBJECTS = 100_000
"""Objects made between two searches for unreachable ones: loading packages makes many more, and all of them stay."""
TOLD = "dse: interrupted\n"
AGAIN_S = 0.01
"""Seconds after which Ctrl-C that was lost is repeated."""


def ctrl_c(number: int, frame: FrameType | None) -> None:
    """KeyboardInterrupt; where a module is being loaded, which an exception breaks, the program ends at once."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, TOLD.encode())
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def ctrl_c_again(lost: sys.UnraisableHookArgs) -> None:
    """Repeat a Ctrl-C that fell into a callback of the garbage collector, where Python prints and forgets it."""
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        return sys.__unraisablehook__(lost)
    again = threading.Timer(AGAIN_S, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    again.daemon = True
    again.start()


def entry() -> int:
    """The command line as a program: Ctrl-C always ends it, but once the answer is out it has nothing left to stop."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background begins without one
        signal.signal(signal.SIGINT, ctrl_c)
    sys.unraisablehook = ctrl_c_again
    try:
        from .commands import main

        code = main()
    except KeyboardInterrupt:  # outside of every command
        os.write(2, TOLD.encode())
        code = INTERRUPTED
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == INTERRUPTED or _is_left_behind():
        leave(code)
    return code


def program() -> NoReturn:
    """`entry` as all that its process is for, which then ends at once."""
    gc.set_threshold(NEW_OBJECTS)
    leave(entry())


def leave(code: int) -> NoReturn:
    """End the program without taking packages down in order: that takes long, and crashes what was stopped midway."""
    if not _is_left_behind():
        atexit._run_exitfuncs()
    with contextlib.suppress(OSError):  # the reader may be gone
        sys.stdout.flush()
    os._exit(code)


def _is_left_behind() -> bool:
    """Whether a thread works on that could not be stopped."""
    from ..core.apart import is_left_behind

    return is_left_behind()
