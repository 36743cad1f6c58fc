"""Which pages and hosts the guards let through, in front of a small app; no MONAI Label is needed."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from label.guards import guards

OWN, VIEWER, OTHER = "http://127.0.0.1:8000", "http://viewer.example:3000", "http://example.org"
LIMIT = 1000


async def served(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes")


@pytest.fixture
def client() -> TestClient:
    hosts = ["127.0.0.1", "[::1]", "workstation"]
    route = Route("/", served, methods=["GET", "POST", "PUT", "DELETE"])
    return TestClient(Starlette(routes=[route], middleware=guards(hosts, [VIEWER], LIMIT)), base_url=OWN)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_clients_that_are_no_browser(client: TestClient, method: str):
    assert client.request(method, "/").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "WORKSTATION:80"])
def test_names_of_this_server(client: TestClient, host: str):
    assert client.get("/", headers={"Host": host}).status_code == 200
    assert client.post("/", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "a/b"])
def test_another_name_for_this_address(client: TestClient, host: str):
    """After DNS rebinding a page's origin and host are the same, and both are its own name."""
    answer = client.get("/", headers={"Host": host, "Origin": f"http://{host}"})
    assert (answer.status_code, answer.text) == (400, "Invalid host header")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "origin", [OTHER, "null", "http://127.0.0.1:8001", "http://localhost:8000", "http://viewer.example", ""]
)
def test_a_page_from_elsewhere(client: TestClient, method: str, origin: str):
    headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    answer = client.request(method, "/", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith(origin)
    assert "access-control-allow-origin" not in answer.headers


def test_two_origins(client: TestClient):
    assert client.get("/", headers=[("Origin", OWN), ("Origin", OTHER)]).status_code == 403


def test_the_page_of_a_viewer_that_is_allowed(client: TestClient):
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    preflight = client.options("/", headers={"Origin": VIEWER, **asked})
    assert preflight.status_code == 200
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    answer = client.put("/", headers={"Origin": VIEWER})
    assert answer.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == VIEWER
    assert answer.headers["access-control-allow-origin"] == VIEWER


@pytest.mark.parametrize(
    ("site", "mode", "destination", "status"),
    [
        ("same-origin", "cors", "empty", 200),
        ("none", "navigate", "document", 200),
        ("cross-site", "navigate", "document", 200),  # a link
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "no-cors", "image", 403),
        ("cross-site", "no-cors", "script", 403),
        ("same-site", "no-cors", "empty", 403),
    ],
)
def test_what_browsers_send_without_an_origin(
    client: TestClient, site: str, mode: str, destination: str, status: int
):
    fetch = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
    assert client.get("/", headers=fetch).status_code == status


def test_only_a_link_that_reads_is_followed(client: TestClient):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.post("/", headers=link).status_code == 403


def test_the_size_of_a_request(client: TestClient):
    assert client.post("/", content=b"x" * LIMIT).text == f"{LIMIT} bytes"
    assert client.post("/", content=b"x" * (LIMIT + 1)).status_code == 413
    pieces = (b"x" * 100 for _ in range(LIMIT // 100 + 1))  # without a length at its head
    assert client.post("/", content=pieces).status_code == 413
