"""One warm session over the tiny study, and a way to ask it as a browser does, without a port."""

import asyncio
import json
from pathlib import Path

import pytest

from dse.explorer.app import Pages
from dse.explorer.guard import Guard
from dse.explorer.session import study_answers

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"
TOKEN, PORT = "t" * 32, 8765


@pytest.fixture(scope="package")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="package")
def answers(results):
    return study_answers(str(TINY), results, (), lambda _: None)


@pytest.fixture(scope="package")
def ask(answers):
    """`ask(path, body=None, token=..., **headers)` gives status, headers and text of the answer."""
    app = Guard(Pages(answers).app(), TOKEN, PORT)

    def asked(path, body=None, *, token=TOKEN, method=None, **headers):
        named = {"host": f"127.0.0.1:{PORT}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        place, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
            "method": method or ("GET" if body is None else "POST"), "raw_path": b"", "query_string": query.encode(),
            "path": f"/{token}/{place}" if token else f"/{place}", "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", PORT), "headers": [(k.encode(), v.encode()) for k, v in named.items() if v],
        }  # fmt: skip
        return asyncio.run(_answered(app, scope, body if isinstance(body, bytes) else json.dumps(body).encode()))

    return asked


async def _answered(app, scope, body):
    heard = []
    sent = False
    gone = asyncio.Event()

    async def receive():
        nonlocal sent
        if sent:
            await gone.wait()
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        heard.append(message)

    await asyncio.wait_for(app(scope, receive, send), 120)
    text = b"".join(m.get("body", b"") for m in heard).decode()
    headers = {k.decode(): v.decode() for k, v in heard[0]["headers"]}
    return heard[0]["status"], headers, text


@pytest.fixture(scope="package")
def start(answers):
    """What a page asks first."""
    x, choice = answers.subject.start()
    return {"x": dict(zip([f.name for f in answers.subject.study.free], x.tolist(), strict=True)), "choice": choice}
