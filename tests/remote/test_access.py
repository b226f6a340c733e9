"""Tokens, roles, and who the server lets near."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from stream.errors import ConfigError
from stream.remote.refusals import RefusedError
from stream.remote.server.http.access import Role, Tokens, bearer_token, check_exposure
from stream.remote.server.http.limits import FAILED_TOKENS
from stream.remote.settings import ServeSettings, is_loopback


def tokens(environment: dict[str, str] | None = None, **settings: Any) -> Tokens:
    return Tokens(ServeSettings(**settings), environment or {})


def refusal(checked: Tokens, token: str | None, role: Role) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        checked.check(token, role, "192.0.2.1")
    return caught.value


def test_without_tokens_everybody_may_do_everything() -> None:
    open_to_all = tokens()
    assert not open_to_all.required
    open_to_all.check(None, Role.PUBLISH, "192.0.2.1")
    open_to_all.check("whatever", Role.VIEW, "192.0.2.1")


def test_a_publish_token_may_view_and_a_view_token_may_not_publish() -> None:
    both = tokens(publish_token="camera", view_token="eyes")
    both.check("camera", Role.PUBLISH, "192.0.2.1")
    both.check("camera", Role.VIEW, "192.0.2.1")
    both.check("eyes", Role.VIEW, "192.0.2.1")
    refused = refusal(both, "eyes", Role.PUBLISH)
    assert refused.status == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]


@pytest.mark.parametrize("token", [None, "", "Camera", "camera ", "cameras", "é", "\udce9"])
def test_wrong_tokens_are_401_and_say_bearer(token: str | None) -> None:
    refused = refusal(tokens(publish_token="camera"), token, Role.VIEW)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "camera" not in str(refused)


def test_a_publish_token_alone_guards_viewing_too() -> None:
    one = tokens(publish_token="camera")
    assert refusal(one, None, Role.VIEW).status == 401
    one.check("camera", Role.VIEW, "192.0.2.1")


def test_the_environment_stands_in_for_what_is_not_set() -> None:
    environment = {"PROSOPON_TOKEN": "shared"}
    assert tokens(environment).roles("shared") == {Role.PUBLISH, Role.VIEW}
    mixed = tokens(environment, publish_token="camera")
    assert mixed.roles("camera") == {Role.PUBLISH, Role.VIEW}
    assert mixed.roles("shared") == {Role.VIEW}
    assert not tokens({"PROSOPON_TOKEN": ""}).required


@pytest.mark.parametrize(
    "settings",
    [{"publish_token": ""}, {"publish_token": "two words"}, {"publish_token": "ü"}, {"view_token": "eyes"}],
)
def test_tokens_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        tokens(**settings)


def test_guessing_has_to_wait_and_a_right_guess_too() -> None:
    guarded = tokens(publish_token="camera")
    for guess in range(FAILED_TOKENS):
        assert refusal(guarded, f"guess{guess}", Role.VIEW).status == 401
    refused = refusal(guarded, "camera", Role.VIEW)
    assert refused.status == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60 / FAILED_TOKENS + 1
    assert refusal(guarded, None, Role.VIEW).status == 401, "no token is no guess"
    guarded.check("camera", Role.VIEW, "192.0.2.2")


def test_tokens_come_as_bearer_or_as_subprotocol() -> None:
    coded = base64.urlsafe_b64encode(b"cam>era?").decode().rstrip("=")
    assert bearer_token({"Authorization": "bearer  abc "}) == "abc"
    assert bearer_token({"Authorization": "Basic abc"}) is None
    assert bearer_token({}) is None
    assert bearer_token({"Sec-WebSocket-Protocol": f"prosopon.v1, prosopon.token.{coded}"}) == "cam>era?"
    for wrong in ("prosopon.token.a b", "prosopon.token.a+b/", "prosopon.token.A"):
        with pytest.raises(RefusedError) as caught:
            bearer_token({"Sec-WebSocket-Protocol": wrong})
        assert caught.value.status == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST"])
def test_this_machine_alone_needs_neither_token_nor_tls(host: str) -> None:
    assert is_loopback(host)
    check_exposure(ServeSettings(host=host), tokens_required=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "cam.example", "localhost.example"])
def test_others_need_token_and_tls_or_insecure(host: str) -> None:
    pem = {"tls_certificate": Path("c.pem"), "tls_key": Path("k.pem")}
    with pytest.raises(ConfigError, match=r"a token .* and TLS"):
        check_exposure(ServeSettings(host=host), tokens_required=False)
    with pytest.raises(ConfigError, match="takes TLS"):
        check_exposure(ServeSettings(host=host), tokens_required=True)
    with pytest.raises(ConfigError, match="takes a token"):
        check_exposure(ServeSettings(host=host, **pem), tokens_required=False)
    check_exposure(ServeSettings(host=host, **pem), tokens_required=True)
    check_exposure(ServeSettings(host=host, insecure=True), tokens_required=False)


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ConfigError, match="both"):
        check_exposure(ServeSettings(tls_certificate=Path("c.pem")), tokens_required=False)
