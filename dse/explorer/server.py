"""The server of one session: one port of this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from .answers import Answers
from .app import Pages
from .guard import Guard, new_token
from .session import LEAVE_S, listening


def serve(answers: Answers, port: int, opens: bool, greet: Callable[[str], None]) -> int:
    """Serve until Ctrl-C, which is how an explorer ends: 0.

    Args:
        answers: what is explored, made ready.
        port: where to listen; 0 for any free port.
        opens: whether to open the browser.
        greet: told the address, token included, once the port is taken.

    Raises:
        SpecError: the port is taken.
    """
    with listening(port) as place:
        taken, token = place.getsockname()[1], new_token()
        address = f"http://127.0.0.1:{taken}/{token}/"
        guarded = Guard(Pages(answers).app(), token, taken)
        settings = uvicorn.Config(
            guarded, log_level="error", access_log=False, server_header=False, proxy_headers=False, lifespan="off",
            timeout_graceful_shutdown=LEAVE_S, ws="none",
        )  # fmt: skip
        greet(address)
        if opens:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        _until_interrupted(uvicorn.Server(settings), place)
    return 0


def _until_interrupted(server: uvicorn.Server, place) -> None:
    """Run; the server takes the signal, ends its answers and raises it again, which is no error here."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        server.run(sockets=[place])
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
