"""Who may do what: tokens and their roles, and who can reach the server."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from enum import StrEnum

from pydantic import SecretStr

from stream.errors import ConfigError
from stream.remote.refusals import RefusedError
from stream.remote.server.http.limits import FAILED_TOKENS, RateLimit
from stream.remote.settings import TOKEN_VARIABLE, ServeSettings, is_loopback

TOKEN_SUBPROTOCOL = "prosopon.token."
"""Before the token in unpadded base64url, for a browser can add no header to a WebSocket."""


class Role(StrEnum):
    """What a request needs to be allowed to."""

    PUBLISH = "publish"
    VIEW = "view"


class Tokens:
    """The tokens and the roles that they give.

    A publish token may also view. Where only the publish token is set, it is needed to view, too.

    :param environment: where ``PROSOPON_TOKEN`` may stand, which is used for each role without a token.
    :ivar required: there are tokens; without, everybody may do everything.
    :raises ConfigError: a token cannot be sent in a header, or there is one to view but none to publish.
    """

    def __init__(self, settings: ServeSettings, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        fallback = environment.get(TOKEN_VARIABLE) or None
        publish = _secret(settings.publish_token, "publish_token") or _usable(fallback, TOKEN_VARIABLE)
        view = _secret(settings.view_token, "view_token") or _usable(fallback, TOKEN_VARIABLE)
        if view is not None and publish is None:
            raise ConfigError(
                "There is a view_token but no publish_token, so that everybody could publish; set both."
            )
        self.required = publish is not None
        self._digests = {Role.PUBLISH: _digest(publish), Role.VIEW: _digest(view)}
        self._failures = RateLimit(FAILED_TOKENS)

    def check(self, token: str | None, role: Role, address: str) -> None:
        """Let a request pass that shows a token for this role.

        :param address: the client's; one that showed too many wrong tokens has to wait, with a right one too,
            or trying would go on.
        :raises RefusedError: 401 without a token or with a wrong one, 403 with one for another role, 429.
        """
        if not self.required:
            return
        if token is None:
            raise _wanted(401, "This server wants a token: send it as Authorization: Bearer TOKEN.")
        self._failures.check(address, "wrong tokens")
        roles = self.roles(token)
        if not roles:
            self._failures.take(address)
            raise _wanted(401, "The token is wrong.", ', error="invalid_token"')
        if role not in roles:
            lacks = f', error="insufficient_scope", scope="{role}"'
            raise _wanted(403, f"This token does not allow to {role}.", lacks)

    def roles(self, token: str | None) -> frozenset[Role]:
        """What the token allows; all where none is required. A wrong token takes as long as a right one."""
        if not self.required:
            return frozenset(Role)
        shown = _digest(token or "")
        assert shown is not None
        matches = {
            role: hmac.compare_digest(shown, digest) for role, digest in self._digests.items() if digest
        }
        if matches[Role.PUBLISH]:
            return frozenset(Role)
        return frozenset({Role.VIEW}) if matches.get(Role.VIEW) else frozenset()


def _wanted(status: int, message: str, why: str = "") -> RefusedError:
    return RefusedError(status, message, {"WWW-Authenticate": f'Bearer realm="prosopon"{why}'})


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token of an ``Authorization: Bearer`` header or of a WebSocket's subprotocols, if there is one.

    :raises RefusedError: 400 where a subprotocol's token is not base64url.
    """
    scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    for protocol in subprotocols(headers):
        if protocol.startswith(TOKEN_SUBPROTOCOL):
            text = protocol.removeprefix(TOKEN_SUBPROTOCOL)
            try:
                return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise RefusedError(400, "The token in the subprotocol is not base64url.") from error
    return None


def subprotocols(headers: Mapping[str, str]) -> list[str]:
    """The subprotocols that a WebSocket offers."""
    return [name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",") if name.strip()]


def check_exposure(settings: ServeSettings, tokens_required: bool) -> None:
    """Whether the server may listen where it should.

    Others would send pictures of faces and tokens over the network: that takes both a token and TLS. Who has
    TLS from a reverse proxy lets the server listen to this machine only.

    :raises ConfigError: others could reach it without a token or without TLS, and ``insecure`` is not set.
    """
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise ConfigError("TLS needs a certificate and its key; give both --tls-cert and --tls-key.")
    if settings.insecure or is_loopback(settings.host):
        return
    missing = []
    if not tokens_required:
        missing.append(f"a token (publish_token in the settings or {TOKEN_VARIABLE})")
    if settings.tls_certificate is None:
        missing.append("TLS (--tls-cert and --tls-key)")
    if missing:
        raise ConfigError(
            f"Others can reach {settings.host}, which takes {' and '.join(missing)}; "
            "set what is missing, or say --insecure if you mean it."
        )


def _secret(token: SecretStr | None, name: str) -> str | None:
    if token is None:
        return None
    if not token.get_secret_value():
        raise ConfigError(f"{name} is empty; leave it out or set one, such as openssl rand -hex 16 makes.")
    return _usable(token.get_secret_value(), name)


def _usable(token: str | None, name: str) -> str | None:
    if token is not None and not re.fullmatch(r"[\x21-\x7e]{1,256}", token):
        raise ConfigError(f"{name} must be 1 to 256 visible ASCII characters without spaces.")
    return token


def _digest(token: str | None) -> bytes | None:
    """So that comparing takes the same time for tokens of any length."""
    return None if token is None else hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
