"""Local HTTP server of one session, until Ctrl-C."""

from __future__ import annotations

import contextlib
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from .answers import Answers
from .app import Pages
from .session import LEAVE_S, Guard, listening, new_token


def serve(answers: Answers, port: int, opens: bool, greet: Callable[[str], None]) -> int:
    """Serve until Ctrl-C, which is how an explorer ends: 0. `greet` hears the address, token included."""
    with listening(port) as place:
        taken, token = place.getsockname()[1], new_token()
        address = f"http://127.0.0.1:{taken}/{token}/"
        pages = Pages(answers)
        guarded = Guard(pages.app(), token, taken)
        settings = uvicorn.Config(
            guarded, log_level="error", access_log=False, server_header=False, proxy_headers=False, lifespan="off",
            timeout_graceful_shutdown=LEAVE_S, ws="none",
        )  # fmt: skip
        server = uvicorn.Server(settings)
        pages.ends = lambda: server.should_exit
        greet(address)
        if opens:
            # in a thread, since some browsers keep `open` waiting, and the page waits for the server below
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        # the server takes Ctrl-C, ends its answers and raises it again: here that is no error
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[place])
    return 0
