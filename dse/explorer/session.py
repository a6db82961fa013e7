"""One session: what is explored made ready, a port of this machine, and a guard at its door."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.errors import SpecError
from ..core.files import read_text
from ..core.shipped import shipped
from ..hardware.presets import chip_system
from ..optimize.space import own_plans, space_of
from ..study.study import load_study
from ..workload.presets import model
from ..workload.requests import workload_of
from .answers import Answers
from .state import optimum_in
from .subject import first_chip, read_chip, read_fastest, subject_of, subject_of_chip

LEAVE_S = 1
"""Seconds that open answers get to end once Ctrl-C was pressed."""


def study_answers(path: str, results: tuple[Path, ...], own: tuple[str, ...], tell: Callable[[str], None]) -> Answers:
    """A study made ready: lowered, compiled for one chip, and the optimum that an earlier run left."""
    place = str(shipped(path))
    study = load_study(place)
    tell("lowering every plan")
    subject = subject_of(space_of(study), place)
    found = optimum_in(subject, results, read_text(Path(place)))
    return warmed(Answers(subject, results, found, own), tell)


def chip_answers(
    named: tuple[str, str], phase: str, n_chips: int | None, results: tuple[Path, ...], own: tuple[str, ...],
    tell: Callable[[str], None],
) -> Answers:  # fmt: skip
    """A chip and a model, by name or path, made ready; raises as `dse evaluate`."""
    system = chip_system(named[0], n_chips)
    workload = workload_of(phase, model(named[1]), system.n_chips, {})
    tell("lowering every plan")
    return warmed(Answers(subject_of_chip(system, workload, phase), results, None, own, named), tell)


def warmed(answers: Answers, tell: Callable[[str], None] = lambda _: None) -> Answers:
    """`answers`, everything a slider needs compiled."""
    tell("compiling the model for one chip")
    subject = answers.subject
    first = first_chip(subject)
    _, plans, _ = read_fastest(subject, first, own_plans(subject.space))
    read_chip(subject, first, plans)
    tell("reading receipts and colours")
    _ = answers.state
    # what was lowered stays as long as the session: looking for garbage in it would stop an answer for half a second
    gc.collect()
    gc.freeze()
    return answers


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket of this machine alone, at `port` or at a free one where that is 0; SpecError where it may not be had."""
    # named as TCP, or asyncio does not switch off Nagle's algorithm: every answer would wait 40 ms
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((NAMES[0], port))
            found.listen()
        except (OSError, OverflowError) as error:
            raise SpecError(f"--port {port}: {error}; another one, or 0 for any that is free") from error
        yield found
    finally:
        found.close()


TOKEN_B = 24
"""Random bytes of a token."""
NAMES = ("127.0.0.1", "localhost")
"""What this machine calls itself."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""What every answer says: nothing from elsewhere is loaded, no frame, no address of ours; plotly needs styles."""


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(TOKEN_B)


@dataclasses.dataclass(frozen=True)
class Guard:
    """An application behind the token."""

    app: ASGIApp
    token: str
    port: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, without its token, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        why = "not a web request" if scope["type"] != "http" else self.refusal(Headers(scope=scope), scope["path"])
        if why:
            if scope["type"] == "http":
                await PlainTextResponse(f"refused: {why}\n", 403, HEADERS)(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        root = f"/{self.token}"
        await self.app({**scope, "path": scope["path"][len(root) :], "root_path": ""}, receive, marked)

    def refusal(self, headers: Headers, path: str) -> str:
        """Why a request is refused; empty where it is not."""
        hosts = [f"{name}:{self.port}" for name in NAMES]
        if headers.getlist("host") not in [[h] for h in hosts]:
            return "another host"
        origins = headers.getlist("origin")
        if any(o not in [f"http://{h}" for h in hosts] for o in origins):
            return "another origin"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "sent by another site"
        given, _, rest = path.removeprefix("/").partition("/")
        known = secrets.compare_digest(given.encode(), self.token.encode())
        return "" if known and path.startswith(f"/{given}/") and rest is not None else "no token, or a wrong one"
