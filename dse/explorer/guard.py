"""Who may talk to the explorer: pages of its own, opened by whoever was given its address.

Other accounts and web pages reach the port, so every path begins with a token, the host must be this one, and requests
that name another origin are refused.
"""

from __future__ import annotations

import dataclasses
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
