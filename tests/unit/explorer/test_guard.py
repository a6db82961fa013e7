"""Who may talk to the explorer."""

import json
import socket

import pytest

from dse.core.errors import SpecError
from dse.explorer.session import listening, new_token

PORT = 8765


def test_the_owner_is_answered(ask):
    status, headers, text = ask("state", origin=f"http://127.0.0.1:{PORT}", sec_fetch_site="same-origin")
    assert status == 200 and json.loads(text)["title"] == "tiny"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("token", ["", "x" * 32, "t" * 31, "t" * 33, "%74" * 32, "é" * 32])
def test_without_the_token_nothing_is_said(ask, token):
    for path in ("state", "", "main.js", "evaluate"):
        status, _, text = ask(path, token=token)
        assert status == 403 and "refused" in text and "tiny" not in text


@pytest.mark.parametrize("headers", [
    {"host": "evil.example"}, {"host": f"evil.example:{PORT}"}, {"host": "127.0.0.1"}, {"host": "127.0.0.1:80"},
    {"host": None}, {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:1"},
    {"origin": f"https://127.0.0.1:{PORT}"}, {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"},
])  # fmt: skip
def test_other_hosts_and_origins_are_refused(ask, headers):
    status, _, text = ask("state", **headers)
    assert status == 403 and "tiny" not in text


def test_localhost_is_this_machine(ask):
    assert ask("state", host=f"localhost:{PORT}")[0] == 200


def test_tokens_cannot_be_guessed():
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50 and min(map(len, tokens)) >= 32


def test_only_this_machine_is_listened_to():
    with listening(0) as place:
        host, port = place.getsockname()
        assert host == "127.0.0.1" and place.proto == socket.IPPROTO_TCP
        with pytest.raises(SpecError, match=f"--port {port}"), listening(port):
            pass


@pytest.mark.parametrize("path", ["../ask.py", "..%2fask.py", "style.css/..", "nothing.js", "index.html.bak", "ask.py"])
def test_no_file_but_those_of_the_page(ask, path):
    status, _, text = ask(path)
    assert status == 404 and "import" not in text
