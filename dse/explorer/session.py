"""One session: preparation of its subject, changes of workloads, a local port, and its access control."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.errors import SpecError, UnknownNameError
from ..core.files import read_text, read_toml
from ..core.shipped import shipped
from ..hardware.presets import chip_system
from ..optimize.space import own_plans, space_of
from ..study.metrics import ECONOMIC
from ..study.resolved import Owner
from ..study.study import Study, load_study
from ..workload.presets import model, model_names
from ..workload.requests import given_batch, workload_of
from ..workload.transformer import Decode, Prefill, Training
from .answers import Answers
from .state import optimum_in
from .subject import Subject, first_chip, read_chip, read_fastest, subject_of, subject_of_chip

LEAVE_S = 1
"""Seconds that open answers get to end once Ctrl-C was pressed."""


def study_answers(path: str, results: tuple[Path, ...], own: tuple[str, ...], tell: Callable[[str], None]) -> Answers:
    """A study made ready: lowered, compiled for one chip, and the optimum that an earlier run left."""
    place = str(shipped(path))
    head = read_toml(Path(place)).get("study")
    # a page shows what owning costs, so that it reads a host or margin that is there for the axes of a later front
    is_owned = isinstance(head, dict) and bool(head.keys() & {f.name for f in dataclasses.fields(Owner)})
    study = load_study(place, asks=ECONOMIC if is_owned else ())
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
        # by DNS rebinding a foreign name may lead here, and is same-origin to a browser: the header gives it away
        hosts = [f"{name}:{self.port}" for name in NAMES]
        if headers.getlist("host") not in [[h] for h in hosts]:
            return "another host"
        origins = headers.getlist("origin")
        if any(o not in [f"http://{h}" for h in hosts] for o in origins):
            return "another origin"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "sent by another site"
        given, _, rest = path.removeprefix("/").partition("/")
        # takes as long wherever they differ, so that its time tells nothing of the token
        known = secrets.compare_digest(given.encode(), self.token.encode())
        return "" if known and path.startswith(f"/{given}/") and rest is not None else "no token, or a wrong one"


FIELDS: dict[type, dict[str, str]] = {
    Training: {"batch": "global_batch", "sequence": "sequence"},
    Decode: {"batch": "batch", "context": "context"},
    Prefill: {"batch": "batch", "prompt": "prompt"},
}
"""Sizes that a page may change, as commands call them, to the field of the workload."""
WORDS = {"batch": "batch, sequences in all", "sequence": "sequence, tokens", "context": "context, tokens",
         "prompt": "prompt, tokens"}  # fmt: skip
LENGTHS = ("sequence", "context", "prompt")
"""Sizes that say how long a sequence is, one in every phase."""
START = 1
"""What a size starts at in another phase, where none carries over."""
MOST = 2**24


def asked_of(study: Study) -> list[dict[str, Any]]:
    """What is asked of every workload; no sizes for a model in service."""
    found = []
    for workload, n_chips in study.workloads.values():
        sizes = {k: int(getattr(workload, f)) for k, f in FIELDS.get(type(workload), {}).items()}
        phase = type(given_batch(workload)).__name__.lower()
        found.append({"phase": phase, "model": workload.model.name, "chips": n_chips, "sizes": sizes})
    return found


def sizes_of_phases() -> dict[str, list[dict[str, Any]]]:
    """Name and words of the sizes of every phase, what each starts at, and whether it carries over."""
    size = lambda n: {"name": n, "label": WORDS[n], "start": START, "carries_over": n in LENGTHS}  # noqa: E731
    return {t.__name__.lower(): [size(n) for n in fields] for t, fields in FIELDS.items()}


def reasked(answers: Answers, raw: dict[str, Any]) -> Answers:
    """A session like another with other workloads, made ready, which takes as long; DseError for any that cannot be."""
    given, now = raw.get("workloads"), asked_of(answers.subject.study)
    if not isinstance(given, list) or len(given) != len(now) or not all(isinstance(g, dict) for g in given):
        raise SpecError(f"workloads: give {len(now)}")
    each = [_checked(g, n) for g, n in zip(given, now, strict=True)]
    subject = _of_chip(answers, each[0]) if answers.subject.is_chip else _of_study(answers, each)
    return warmed(dataclasses.replace(answers, subject=subject, found=None, columns={}))


def _checked(given: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """One workload as it is asked for, with what is there now where nothing is said."""
    sizes = given.get("sizes", now["sizes"])
    numbers = [given.get("chips", now["chips"]), *(sizes.values() if isinstance(sizes, dict) else [None])]
    if not all(isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= MOST for v in numbers):
        raise SpecError(f"sizes and chips: give whole numbers from 1 to {MOST:,}")
    words = {k: str(given.get(k, now[k])) for k in ("phase", "model")}
    return {**words, "chips": int(numbers[0]), "sizes": sizes}


def _of_study(answers: Answers, each: list[dict[str, Any]]) -> Subject:
    study, workloads = answers.subject.study, {}
    for (name, (workload, _)), asked in zip(study.workloads.items(), each, strict=True):
        fields = FIELDS.get(type(workload), {})
        if set(asked["sizes"]) != set(fields):
            raise SpecError(f"{name}: its sizes are {', '.join(fields) or 'none'}")
        changed = {fields[k]: v for k, v in asked["sizes"].items()}
        workloads[name] = (dataclasses.replace(workload, **changed) if changed else workload, asked["chips"])
    return subject_of(space_of(dataclasses.replace(study, workloads=workloads)), answers.subject.asked)


def _of_chip(answers: Answers, asked: dict[str, Any]) -> Subject:
    chip, own_model = answers.named
    # a page may name no path but those that the command was given
    if asked["model"] not in (*model_names(), own_model, model(own_model).name):
        raise UnknownNameError("model", asked["model"], model_names())
    named = own_model if asked["model"] == model(own_model).name else asked["model"]
    system = chip_system(chip, asked["chips"])
    workload = workload_of(asked["phase"], model(named), system.n_chips, asked["sizes"])
    return subject_of_chip(system, workload, asked["phase"])
