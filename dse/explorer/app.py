"""HTTP application behind the page: requests in, JSON out; searches as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gzip
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..core.errors import DseError, SpecError, UnknownNameError
from ..core.files import plain
from ..workload.presets import model_names
from ..workload.transformer import PHASES
from .answers import LEFT, Answers
from .ask import MOST_B, ask_of, limits_of, parsed
from .session import asked_of, reasked, sizes_of_phases

PAGE = Path(__file__).parent / "page"
"""Files of the page."""
LISTEN_S = 0.3
"""How often a search without a word looks whether the server ends."""
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
"""Files that are served, by the end of their names."""


@dataclasses.dataclass
class Pages:
    """Handlers of one session."""

    answers: Answers
    latest: dict[str, int] = dataclasses.field(default_factory=dict)
    """Number of the last search of every kind: older ones stop at their next word."""
    first: Answers = dataclasses.field(init=False)
    """Those that the session began with."""
    ends: Callable[[], bool] = lambda: False
    """Whether the server is about to end: searches then say no more."""

    def __post_init__(self):
        self.first = self.answers

    def app(self) -> Starlette:
        """The application, without its guard."""
        routes = [
            Route("/", file),
            Route("/state", self.told(lambda _: self.answers.state)),
            Route("/evaluate", self.evaluate, methods=["POST"]),
            Route("/designs", self.designs, methods=["POST"]),
            Route("/workloads", self.told(lambda _: self.workloads)),
            Route("/workloads", self.reask, methods=["POST"]),
            Route("/export", self.export, methods=["POST"]),
            Route("/chip", self.told(lambda q: self.answers.chip(q.get("name", "")))),
            Route("/receipts", self.told(lambda q: self.answers.receipts(q.get("choice", "")))),
            # bound as default: a closure over the loop would answer everything with the last
            *(Route(f"/{what}", self.told(lambda _, found=found: found(self.answers))) for what, found in LEFT.items()),
            Route("/search/{kind}", self.search),
            Route("/plotly.js", plotly),
            # last, since the first route that fits answers, and this one fits any name
            Route("/{name}", file),
        ]
        return Starlette(routes=routes, exception_handlers={DseError: _refused})

    def told(self, answer: Callable[[Any], Any]) -> Callable[[Request], Response]:
        """A handler of what a page asks without a body; in a thread of its own, since it may compute."""

        def handler(request: Request) -> Response:
            return JSONResponse(plain(answer(request.query_params)))

        return handler

    async def evaluate(self, request: Request) -> Response:
        """One chip: milliseconds, so that it waits for no thread."""
        began = time.perf_counter()
        found = self.answers.evaluate(ask_of(self.answers.subject, parsed(await _body(request))))
        return JSONResponse({**found, "ms": 1e3 * (time.perf_counter() - began)})

    async def designs(self, request: Request) -> Response:
        """Many chips, as a figure shows them; in a thread, since they take longer than one."""
        raw = parsed(await _body(request)).get("designs")
        if not isinstance(raw, list) or not all(isinstance(r, dict) for r in raw):
            raise SpecError("designs: give a list of designs")
        answers = self.answers
        asks = [ask_of(answers.subject, r) for r in raw]
        found = await run_in_threadpool(lambda: [answers.brief(a) for a in asks])
        return JSONResponse({"answers": found})

    @property
    def workloads(self) -> dict[str, Any]:
        """What is asked of the workloads, what the session began with, and what else could be."""
        known = {"phases": PHASES, "models": model_names()} if self.answers.subject.is_chip else {}
        asked, first = (asked_of(a.subject.study) for a in (self.answers, self.first))
        return {"workloads": asked, "first": first, "sizes": sizes_of_phases(), **known}

    async def reask(self, request: Request) -> Response:
        """Other workloads for the whole session, once no search runs; the page then begins anew."""
        raw = parsed(await _body(request))

        def work() -> None:
            with self.answers.working:
                # back to the first needs no lowering, and keeps the optimum that it began with
                same = raw.get("workloads") == asked_of(self.first.subject.study)
                self.answers = self.first if same else reasked(self.answers, raw)

        await run_in_threadpool(work)
        return JSONResponse({"done": True})

    async def export(self, request: Request) -> Response:
        """The chip at hand as a file, or as lines of Python."""
        raw = parsed(await _body(request))
        text = self.answers.export(ask_of(self.answers.subject, raw), str(raw.get("form", "")))
        return Response(text, media_type="text/plain; charset=utf-8")

    async def search(self, request: Request) -> Response:
        """A search in a thread of its own; its words as they come. A newer one of the same kind stops it."""
        kind, query = request.path_params["kind"], dict(request.query_params)
        work = self.answers.search(kind, _searched(self.answers, query))
        mine = self.latest[kind] = self.latest.get(kind, 0) + 1
        words: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(word: dict[str, Any]) -> None:
            if self.latest[kind] != mine:
                raise Replaced
            # queues of asyncio are for one thread, and this is another
            loop.call_soon_threadsafe(words.put_nowait, plain(word))

        # a daemon: Ctrl-C must not wait for a search that takes minutes
        threading.Thread(target=_worked, args=(work, tell), daemon=True).start()
        return StreamingResponse(self._events(words, kind, mine), media_type="text/event-stream")

    async def _events(self, words: asyncio.Queue[dict[str, Any]], kind: str, mine: int) -> AsyncIterator[str]:
        """Words of a search until it is done; who leaves stops it."""
        try:
            while not self.ends() and self.latest[kind] == mine:
                with contextlib.suppress(TimeoutError):
                    word = await asyncio.wait_for(words.get(), LISTEN_S)
                    yield f"data: {json.dumps(word, allow_nan=False)}\n\n"
                    if word.get("done"):
                        return
        finally:
            if self.latest[kind] == mine:  # nobody listens any more: the thread ends at its next word
                self.latest[kind] += 1


async def file(request: Request) -> Response:
    """A file of the page."""
    path = PAGE / request.path_params.get("name", "index.html")
    # a name from outside, which must not lead out of the folder
    if path.parent != PAGE or path.suffix not in TYPES or not path.is_file():
        return Response("no such page\n", 404)
    return Response(path.read_text(encoding="utf-8"), media_type=TYPES[path.suffix])


def plotly(_: Request) -> Response:
    """plotly.js from its wheel, for the heavy figures; kept by the browser as long as the session lasts."""
    packed = packed_plotly()
    if packed is None:
        return Response("plotly is not installed\n", 404)
    headers = {"content-encoding": "gzip", "cache-control": "private, max-age=86400"}
    return Response(packed, media_type="text/javascript", headers=headers)


@cache
def packed_plotly() -> bytes | None:
    """plotly.js by gzip, packed once; None where it is not installed."""
    try:
        import plotly.offline
    except ImportError:
        return None
    return gzip.compress(plotly.offline.get_plotlyjs().encode(), 6)


class Replaced(Exception):
    """A newer search of the same kind, or nobody who listens."""


def _worked(work: Callable[[Callable[[dict[str, Any]], None]], None], tell: Callable[[dict[str, Any]], None]) -> None:
    try:
        work(tell)
    except Replaced:
        return
    except DseError as error:
        _last(tell, " ".join(str(error).split()))
    except Exception as error:
        _last(tell, f"{type(error).__name__}: {error}")
        raise


def _last(tell: Callable[[dict[str, Any]], None], why: str) -> None:
    try:
        tell({"done": True, "error": why})
    except Replaced:
        return


def _searched(answers: Answers, query: dict[str, str]) -> dict[str, Any]:
    if "limits" not in query:
        return dict(query)
    if len(query["limits"]) > MOST_B:
        raise SpecError("limits: too long")
    return {
        **query,
        # in a mapping, since that is all that `parsed` takes
        "limits": limits_of(answers.subject, parsed(b'{"limits": %s}' % query["limits"].encode())["limits"]),
    }


async def _body(request: Request) -> bytes:
    """The body, as far as a request may be long."""
    found = b""
    async for part in request.stream():
        found += part
        # one part too many is kept, so that `parsed` says that it is too long
        if len(found) > MOST_B:
            break
    return found


async def _refused(_: Request, error: Exception) -> Response:
    """What was wrong with a question, in one line."""
    status = 404 if isinstance(error, UnknownNameError) else 400
    # 404 where the name is all that is wrong
    return JSONResponse({"error": " ".join(str(error).split())}, status)
