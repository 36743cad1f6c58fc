"""Which values are refused in path, query, form and JSON, by harmless probes; no MONAI Label is needed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from label.texts import check_request

REFUSED = [
    *("$1+1", " $1+1", "@bundle_root", "%train#trainer", "$import math"),
    *("../x", "..", "a/../b", "a\\b", "/etc/hostname", "C:\\x", "a/b", "x\x00", "--config_file=x", "-x"),
]
PLAIN = [
    *("", "cpu", "NVIDIA A100-SXM4:0", "hippocampus_001", "sub-01 (2)", "fall ä", "a$b", "a@b", "50%"),
    *(".nrrd", "v1..2", "#1", "0,1", "None", "uint8"),
]


async def served(request: Request) -> PlainTextResponse:
    await check_request(request)
    return PlainTextResponse("served")


@pytest.fixture
def client() -> TestClient:
    methods = ["GET", "POST", "PUT"]
    routes = [Route(f"/{part}/{{name}}", served, methods=methods) for part in ("infer", "train", "datastore")]
    return TestClient(Starlette(routes=routes))


def refusal(answer: Any) -> str:
    assert answer.status_code == 422, answer.text
    return answer.text


def upload(name: str) -> dict[str, Any]:
    return {"file": (name, b"voxels", "application/octet-stream")}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_texts(client: TestClient, text: str):
    for name in ("image", "tag", "label", "id", "session_id", "output"):
        assert f"{name}: found {text!r}" in refusal(client.post("/infer/model", params={name: text}))
        assert name in refusal(client.post("/infer/model", params=[(name, "plain"), (name, text)]))
    assert "device" in refusal(client.post("/train/model", json={"device": text}))
    assert "deep: 1: 0" in refusal(client.post("/train/model", json={"deep": [0, [text]]}))
    assert "key" in refusal(client.post("/train/model", json={"deep": [{text: 1}]}))
    params = {"params": json.dumps({"device": text})}
    assert "params: device" in refusal(client.post("/infer/model", data=params))
    assert "params: device" in refusal(client.post("/infer/model", data=params, files=upload("a.nii")))
    assert "params: device" in refusal(client.post("/infer/model", params=params))


@pytest.mark.parametrize("text", PLAIN)
def test_plain_texts(client: TestClient, text: str):
    params = {"params": json.dumps({"device": text, "list": [text]})}
    for answer in (
        client.get("/infer/model", params={"image": text}),
        client.post("/train/model", json={"device": text, "list": [text, 1, None, True, 0.5]}),
        client.post("/infer/model", data=params, files=upload("a.nii.gz")),
        client.post("/infer/model", data=params),
    ):
        assert answer.text == "served"


@pytest.mark.parametrize("path", ["/infer/%2e%2e", "/infer/$1+1", "/train/@x", "/infer/a%5Cb"])
def test_names_in_the_path(client: TestClient, path: str):
    assert "name: found" in refusal(client.post(path))


@pytest.mark.parametrize("key", ["_target_", "_mode_", "train#trainer", "a::b", "+imports", "$1+1"])
def test_keys_that_a_config_knows(client: TestClient, key: str):
    for body in ({key: 1}, {"max_epochs": {key: "math.sqrt"}}, {"list": [{key: 1}]}):
        assert repr(key) in refusal(client.post("/train/model", json=body))


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        ('{"device": "$1+1"}'.encode("utf-16"), "application/json", "device: found '$1+1'"),
        (b'{"device": "$1+1"}', "Application/JSON; charset=utf-8", "device: found '$1+1'"),
        (b'{"device": "$1+1"}', "application/vnd.x+json", "device: found '$1+1'"),
        (b'{"device": "\\u00241+1"}', "application/json", "device: found '$1+1'"),
        (b'{"device": "cpu", "device": "$1+1"}', "application/json", "device: found '$1+1'"),
        (b'["cpu"]', "application/json", "expected a JSON object"),
        (b'{"device":', "application/json", "expected JSON"),
        (b"[" * 100_000, "application/json", "recursion"),
    ],
)
def test_ways_to_write_a_body(client: TestClient, content: bytes, kind: str, reason: str):
    assert reason in refusal(client.post("/train/model", content=content, headers={"Content-Type": kind}))


def test_bodies_without_content(client: TestClient):
    for content in (b"", b"{}", b"null"):
        answer = client.post("/train/model", content=content, headers={"Content-Type": "application/json"})
        assert answer.text == "served"


def test_what_is_said_of_a_label_may_be_any_text(client: TestClient):
    """It goes into the list of volumes, and into no config."""
    info = json.dumps({"note": "$ 5 / 100 %", "label_info": [{"name": "n/a", "#": 1}]})
    for key in ("params", "info"):
        assert client.put("/datastore/label", data={key: info}).text == "served"
        assert "note" in refusal(client.post("/infer/model", data={key: info}))
        assert "expected a JSON object" in refusal(client.put("/datastore/label", data={key: "[1]"}))


@pytest.mark.parametrize(
    "name", ["a.nii", "A.NII.GZ", "a.seg.nrrd", "/home/me/a.nii.gz", "C:\\scans\\a.nrrd"]
)
def test_uploads(client: TestClient, name: str):
    assert client.put("/datastore/image", files=upload(name)).text == "served"


@pytest.mark.parametrize("name", ["a.npy", "a.pkl", "a.zip", "a.pt", "a.nii.json", "a", "$1+1.nii", "a/.."])
def test_uploads_of_another_kind(client: TestClient, name: str):
    assert "upload" in refusal(client.put("/datastore/image", files=upload(name)))


def test_archives_are_not_unpacked(client: TestClient):
    assert client.put("/datastore/x", params={"uncompress": "false"}).text == "served"
    assert "not unpacked" in refusal(client.put("/datastore/x", params={"uncompress": "true"}))
