"""WHIP and WHEP as their texts say: each status, each header."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from remote.fake_hub import ANSWER, FRAGMENT, KEY, OFFER, VIEWER, serving

from stream.errors import ProtocolError
from stream.remote.refusals import NameTakenError, ServerFullError, UnknownSessionError

PUBLISH, WATCH, SESSION, VIEW = "/whip", "/whep/ada", f"/whip/{KEY}/ada", f"/whep/ada/{VIEWER}"

RESTART = FRAGMENT.replace("abcd", "efgh")

SDP = {"Content-Type": "application/sdp"}
TRICKLE = {"Content-Type": "application/trickle-ice-sdpfrag"}
ICE = {
    "stun": ("stun:stun.example:3478",),
    "turn": ("turn:turn.example:3478?transport=udp",),
    "turn_secret": "hush",
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_session_from_offer_to_end() -> None:
    async def run() -> None:
        async with serving(ice=ICE) as (_, hub, client):
            async with client.post("/whip?session=ada", data=OFFER, headers=SDP) as answer:
                assert answer.status == 201
                assert answer.content_type == "application/sdp"
                assert await answer.text() == ANSWER
                assert answer.headers["Location"] == SESSION
                assert answer.headers["ETag"] == '"first"'
                assert answer.headers["Accept-Patch"] == TRICKLE["Content-Type"]
                links = answer.headers.getall("Link")
            assert links[0] == '<stun:stun.example:3478>; rel="ice-server"'
            assert links[1].startswith('<turn:turn.example:3478?transport=udp>; rel="ice-server"; username="')
            assert "hush" not in "".join(links)
            assert hub.offers == [(OFFER, "ada")]

            patch = {**TRICKLE, "If-Match": '"first"'}
            async with client.patch(SESSION, data=FRAGMENT, headers=patch) as answer:
                assert (answer.status, await answer.read()) == (204, b"")
            assert hub.sessions["ada"].trickled == ["abcd"]

            async with client.patch(SESSION, data=RESTART, headers={**TRICKLE, "If-Match": "*"}) as answer:
                assert answer.status == 200
                assert answer.content_type == TRICKLE["Content-Type"]
                assert answer.headers["ETag"] == '"second"'
                assert await answer.text() == "a=ice-ufrag:efgh\r\n"
            async with client.patch(SESSION, data=FRAGMENT, headers=patch) as answer:
                assert answer.status == 412

            async with client.delete(SESSION, headers={"If-Match": '"first"'}) as answer:
                assert answer.status == 200, "an ETag does not matter to the end"
            assert hub.ended == ["ada"]

    asyncio.run(run())


def test_a_viewer_from_offer_to_end() -> None:
    async def run() -> None:
        async with serving() as (server, hub, client):
            async with client.post("/whip", data=OFFER, headers=SDP) as answer:
                location = answer.headers["Location"]
                assert location == f"/whip/{KEY}/0123456789abcdef"
                assert "Link" not in answer.headers
            name = location.rpartition("/")[2]
            async with client.post(f"/whep/{name}", data=OFFER, headers=SDP) as answer:
                assert answer.status == 201
                assert answer.headers["Location"] == f"/whep/{name}/{VIEWER}"
                assert answer.headers["ETag"] == '"first"'
            patch = {**TRICKLE, "If-Match": 'W/"x", "first"'}
            async with client.patch(f"/whep/{name}/{VIEWER}", data=FRAGMENT, headers=patch) as answer:
                assert answer.status == 204
            restart = {**TRICKLE, "If-Match": '"*"'}  # as in the RFC's example
            async with client.patch(f"/whep/{name}/{VIEWER}", data=RESTART, headers=restart) as answer:
                assert answer.status == 200
            async with client.delete(f"/whep/{name}/{VIEWER}") as answer:
                assert answer.status == 200
            assert hub.viewers[name, VIEWER].ended
            assert server.figures() | {"loop_lag_ms": 0} == {
                "requests": 5, "refused": 0, "published": 1, "watched": 1, "loop_lag_ms": 0,
            }  # fmt: skip

    asyncio.run(run())


@pytest.mark.parametrize("match", ["*", '"first"'])
def test_credentials_tell_a_restart_from_a_candidate_whatever_if_match_says(match: str) -> None:
    """RFC 9725 section 4.3.3; some players send every candidate with If-Match: *."""

    async def run() -> None:
        async with serving(offers_per_minute=2) as (_, hub, client):
            await hub.publish(OFFER, "ada")
            headers = {**TRICKLE, "If-Match": match}
            for _ in range(3):
                async with client.patch(SESSION, data=FRAGMENT, headers=headers) as answer:
                    assert answer.status == 204
            assert hub.sessions["ada"].etag == "first"
            late = FRAGMENT.replace("abcd", "past")
            async with client.patch(SESSION, data=late, headers=headers) as answer:
                assert answer.status == 412
            async with client.patch(SESSION, data=RESTART, headers=headers) as answer:
                assert (answer.status, answer.headers["ETag"]) == (200, '"second"')
            async with client.patch(SESSION, data=RESTART, headers={**headers, "If-Match": "*"}) as answer:
                assert answer.status == 200
            async with client.patch(SESSION, data=RESTART, headers={**headers, "If-Match": "*"}) as answer:
                assert answer.status == 429, "restarts are counted as offers, candidates not"

    asyncio.run(run())


def test_another_publishers_session_is_not_found() -> None:
    async def run() -> None:
        async with serving() as (_, hub, client):
            await hub.publish(OFFER, "ada")
            for path in (f"/whip/{'0' * 32}/ada", f"/whip/{KEY}/other", "/whip/ada"):
                for method in ("PATCH", "DELETE", "GET"):
                    async with client.request(method, path) as answer:
                        assert answer.status == 404
            assert hub.ended == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("POST", PUBLISH, {}, OFFER, 415),
        ("POST", PUBLISH, {"Content-Type": "application/json"}, OFFER, 415),
        ("POST", PUBLISH, {**SDP, "Content-Encoding": "gzip"}, OFFER, 415),
        ("POST", PUBLISH, {**SDP, "Accept": "text/html"}, OFFER, 406),
        ("POST", PUBLISH, {**SDP, "Accept": "application/sdp;q=0"}, OFFER, 406),
        ("POST", PUBLISH, SDP, b"\xff\xfe", 400),
        ("POST", PUBLISH, SDP, "v" * 65_537, 413),
        ("POST", "/whip?session=Ada", SDP, OFFER, 400),
        ("POST", "/whip?session=" + "a" * 65, SDP, OFFER, 400),
        ("POST", "/whep/nobody", SDP, OFFER, 404),
        ("POST", "/whep/ADA", SDP, OFFER, 404),
        ("POST", "/whep/..%2Fetc", SDP, OFFER, 404),
        ("PATCH", SESSION, TRICKLE, FRAGMENT, 428),
        ("PATCH", SESSION, {**TRICKLE, "If-Match": '"old"'}, FRAGMENT, 412),
        ("PATCH", SESSION, {**TRICKLE, "If-Match": 'W/"first"'}, FRAGMENT, 412),
        ("PATCH", SESSION, {**TRICKLE, "If-Match": '"first"'}, "nonsense", 400),
        ("PATCH", SESSION, {**TRICKLE, "If-Match": "*"}, "nonsense", 400),
        ("PATCH", SESSION, {**SDP, "If-Match": '"first"'}, FRAGMENT, 415),
        ("PATCH", SESSION, {**TRICKLE, "If-Match": '"first"'}, "a" * 16_385, 413),
        ("PATCH", f"/whip/{KEY}/nobody", {**TRICKLE, "If-Match": '"first"'}, FRAGMENT, 404),
        ("PATCH", f"/whep/ada/{KEY}", {**TRICKLE, "If-Match": '"first"'}, FRAGMENT, 404),
        ("DELETE", f"/whip/{KEY}/nobody", {}, None, 404),
        ("DELETE", VIEW, {}, None, 404),
        ("GET", "/whep/nobody", {}, None, 404),
        ("GET", VIEW, {}, None, 404),
    ],
)
def test_misuse_has_its_status_and_a_sentence(
    method: str, path: str, headers: dict[str, str], body: Any, status: int
) -> None:
    async def run() -> None:
        async with serving() as (_, hub, client):
            await hub.publish(OFFER, "ada")
            client.headers.clear()
            async with client.request(
                method, path, data=body, headers=headers, skip_auto_headers=("Content-Type",)
            ) as answer:
                text = await answer.text()
                assert answer.status == status
                assert answer.content_type == "text/plain"
                assert text.endswith(".\n")
                assert text.count("\n") == 1
            assert len(hub.offers) == 1

    asyncio.run(run())


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "POST"])
def test_addresses_take_their_methods_only(method: str) -> None:
    async def run() -> None:
        async with serving() as (_, hub, client):
            await hub.publish(OFFER, "ada")
            await hub.watch("ada", OFFER)
            if method != "POST":
                for path in (PUBLISH, WATCH):
                    async with client.request(method, path) as answer:
                        assert answer.status == 405
                        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
            if method not in ("DELETE", "PATCH"):
                for path in (SESSION, VIEW):
                    async with client.request(method, path) as answer:
                        assert answer.status == 405
                        assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"

    asyncio.run(run())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_look_at_an_address_is_a_success_without_content(method: str) -> None:
    """RFC 9725 section 4.1."""

    async def run() -> None:
        async with serving() as (_, hub, client):
            await hub.publish(OFFER, "ada")
            await hub.watch("ada", OFFER)
            for path in (PUBLISH, WATCH, SESSION, VIEW):
                async with client.request(method, path) as answer:
                    assert (answer.status, await answer.read()) == (204, b"")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (ProtocolError("The offer is no SDP."), 400, None),
        (UnknownSessionError("There is no such session."), 404, None),
        (NameTakenError("The name is taken."), 409, None),
        (ServerFullError("The server is full.", retry_after=7), 503, "7"),
        (RuntimeError("secret"), 500, None),
    ],
)
def test_what_the_hub_refuses_has_its_status(error: Exception, status: int, retry: str | None) -> None:
    async def run() -> None:
        async with serving() as (_, hub, client):
            await hub.publish(OFFER, "ada")
            hub.refusal = error
            for path in (PUBLISH, WATCH):
                async with client.post(path, data=OFFER, headers=SDP) as answer:
                    assert answer.status == status
                    assert answer.headers.get("Retry-After") == retry
                    text = await answer.text()
                    assert "secret" not in text
                    assert status == 500 or text == f"{error}\n"

    asyncio.run(run())


def test_each_role_needs_its_token() -> None:
    async def run() -> None:
        async with serving(publish_token="camera", view_token="eyes") as (_, hub, client):
            await hub.publish(OFFER, "ada")
            await hub.watch("ada", OFFER)
            requests = [
                ("POST", PUBLISH, "publish"), ("PATCH", SESSION, "publish"), ("DELETE", SESSION, "publish"),
                ("POST", WATCH, "view"), ("PATCH", VIEW, "view"), ("DELETE", VIEW, "view"),
                ("GET", PUBLISH, "publish"), ("GET", SESSION, "publish"), ("GET", VIEW, "view"),
                ("GET", "/sessions", "view"), ("GET", "/metrics", "view"), ("GET", "/config", "view"),
                ("GET", "/ws/ada", "view"),
            ]  # fmt: skip
            for method, path, role in requests:
                async with client.request(method, path) as answer:
                    assert answer.status == 401
                    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
                async with client.request(method, path, headers=bearer("wrong")) as answer:
                    assert answer.status == 401
                async with client.request(method, path, headers=bearer("eyes")) as answer:
                    assert answer.status not in (401, 429)
                    assert (answer.status == 403) == (role == "publish")
            assert (hub.ended, hub.viewers["ada", VIEWER].ended) == ([], True)
            async with client.post(PUBLISH, data=OFFER, headers={**SDP, **bearer("camera")}) as answer:
                assert answer.status == 201
            async with client.post(WATCH, data=OFFER, headers={**SDP, **bearer("camera")}) as answer:
                assert answer.status in (201, 404)

    asyncio.run(run())


def test_options_tell_what_can_be_posted_and_ice_servers_to_those_who_may() -> None:
    async def run() -> None:
        async with serving(publish_token="camera", ice=ICE) as (_, _, client):
            for path in (PUBLISH, WATCH):
                async with client.options(path) as answer:
                    assert answer.status == 204
                    assert answer.headers["Accept-Post"] == "application/sdp"
                    assert "Link" not in answer.headers
                async with client.options(path, headers=bearer("camera")) as answer:
                    assert len(answer.headers.getall("Link")) == 2
            async with client.options(SESSION) as answer:
                assert answer.headers["Accept-Patch"] == TRICKLE["Content-Type"]
                assert answer.headers["Accept-Post"] == "application/sdp"

    asyncio.run(run())


def test_pages_of_allowed_origins_may_offer_and_others_not() -> None:
    async def run() -> None:
        async with serving(origins=("https://other.example",)) as (_, hub, client):
            preflight = {
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization",
            }
            allowed = {"Origin": "https://other.example"}
            async with client.options(PUBLISH, headers={**preflight, **allowed}) as answer:
                assert answer.status == 204
                assert answer.headers["Access-Control-Allow-Origin"] == "https://other.example"
                assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
                assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
                assert "Access-Control-Allow-Credentials" not in answer.headers
            async with client.post(PUBLISH, data=OFFER, headers={**SDP, **allowed}) as answer:
                assert answer.status == 201
                assert "Location" in answer.headers["Access-Control-Expose-Headers"]
                assert "Origin" in answer.headers["Vary"]
            async with client.post(PUBLISH, headers=allowed) as answer:
                assert answer.status == 415
                assert answer.headers["Access-Control-Allow-Origin"] == "https://other.example"
            for evil in ("https://evil.example", "null"):
                async with client.post(PUBLISH, data=OFFER, headers={**SDP, "Origin": evil}) as answer:
                    assert answer.status == 403
                    assert "Access-Control-Allow-Origin" not in answer.headers
            assert len(hub.offers) == 1

    asyncio.run(run())


def test_a_proxy_that_adds_a_header_of_its_own_is_believed_more_than_its_client() -> None:
    """HAProxy leaves the client's X-Forwarded-For as it is and writes its own below."""

    async def run() -> None:
        async with serving(offers_per_minute=1, proxies=("127.0.0.1",)) as (_, _, client):
            for lie, wanted in (("192.0.2.1", 201), ("192.0.2.2", 429)):
                hops = [("X-Forwarded-For", lie), ("X-Forwarded-For", "203.0.113.9")]
                async with client.post(PUBLISH, data="x", headers=[*SDP.items(), *hops]) as answer:
                    assert answer.status == wanted

    asyncio.run(run())


def test_too_many_offers_have_to_wait() -> None:
    async def run() -> None:
        async with serving(offers_per_minute=3) as (_, hub, client):
            for _ in range(3):
                async with client.post(PUBLISH, data="x", headers=SDP) as answer:
                    assert answer.status == 201
            async with client.post(PUBLISH, data=OFFER, headers=SDP) as answer:
                assert answer.status == 429
                assert 1 <= int(answer.headers["Retry-After"]) <= 20
            for _ in range(5):
                async with client.post("/whep/nobody", data=OFFER, headers=SDP) as answer:
                    assert answer.status == 404, "asking for a session that is not there yet is no offer"
            async with client.delete(f"/whip/{KEY}/0123456789abcdef") as answer:
                assert answer.status == 200, "only offers are counted"
            assert len(hub.offers) == 3

    asyncio.run(run())
