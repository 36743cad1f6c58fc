"""Who may ask: not every web page that a browser of this machine shows, which MONAI Label 0.8.5 answers."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["OwnPages", "guards"]


def guards(hosts: Collection[str], origins: Collection[str], max_bytes: int) -> list[Middleware]:
    """List what stands in front of the app, outermost first.

    Args:
        hosts: names and addresses that this server is called by, without ports. Another one is answered with
            400: it is how a page makes a browser believe that the server is its own (DNS rebinding).
        origins: pages from elsewhere that may use the server, as browsers name them: ``http://HOST:PORT``.
        max_bytes: of the body of a request; a larger one is answered with 413.
    """
    return [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        Middleware(OwnPages, origins=origins),
        Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]),
        Middleware(RequestBodyLimitMiddleware, max_body_size=max_bytes),
    ]


class OwnPages:
    """Answer 403 to what a browser sends for a page from elsewhere; other clients send no word of pages.

    The host has been checked before, so a page of the host that is asked is the server's own. Links to the
    server work from everywhere.

    Args:
        app: what is guarded.
        origins: pages from elsewhere that are allowed.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        self.app, self.origins = app, set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http" or self._allows(headers := Headers(scope=scope), scope["method"]):
            await self.app(scope, receive, send)
            return
        page = headers.get("origin", "a page of another site")
        reason = f"{page} may not use this server; --allow_origin allows a viewer's page"
        await JSONResponse({"detail": reason}, 403)(scope, receive, send)

    def _allows(self, headers: Headers, method: str) -> bool:
        own = {f"{scheme}://{headers.get('host')}" for scheme in ("http", "https")}
        if "origin" in headers:
            return own | self.origins >= set(headers.getlist("origin"))
        # images, scripts, frames and links come without an origin
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return True
        fetch = method, headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
        return fetch == ("GET", "navigate", "document")
