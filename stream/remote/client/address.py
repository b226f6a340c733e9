"""What a person writes to name a server or a session: an address, with a token or not."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit

from stream.errors import ConfigError
from stream.protocol.messages import SESSION_NAME
from stream.remote.settings import TOKEN_VARIABLE, is_loopback

SESSION = re.compile(SESSION_NAME)

EXAMPLES = "http://host:8080, http://host:8080/#session=NAME or http://host:8080/whep/NAME"


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and perhaps one of its sessions.

    :ivar base: scheme, host, port and the path before ours, without a slash at the end.
    :ivar session: the session's name, or None for whichever there is.
    :ivar token: what the server wants to see, or None; never shown.
    """

    base: str
    session: str | None = None
    token: str | None = field(default=None, repr=False)

    def url(self, path: str, session: str | None = None) -> str:
        """The URL of one of the server's paths, with the session's name as its last part where given."""
        return f"{self.base}/{path}" + ("" if session is None else f"/{quote(session)}")

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    @property
    def exposed(self) -> bool:
        """Whether the token would cross a network in the clear."""
        host = urlsplit(self.base).hostname or ""
        return self.token is not None and self.base.startswith("http:") and not is_loopback(host)


def parse_address(url: str, session: str | None = None, token: str | None = None) -> Address:
    """The address in ``http(s)://host:port``, ``.../#session=NAME`` or ``.../whep/NAME``.

    :param session: wins over the one in the address.
    :param token: wins over ``#token=`` in the address, which wins over ``PROSOPON_TOKEN``.
    :raises ConfigError: it is no such address, or the name or the token cannot be one.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or not url.isprintable() or " " in url:
        raise ConfigError(f"The address must be like {EXAMPLES}.")
    if "@" in parts.netloc or parts.query:
        raise ConfigError(f"The address must have no user name and no '?'; write it like {EXAMPLES}.")
    path, _, named = parts.path.partition("/whep/")
    fragment = {key: values[-1] for key, values in parse_qs(parts.fragment.replace("+", "%2B")).items()}
    session = session or named.rstrip("/") or fragment.get("session")
    if session is not None and SESSION.fullmatch(session) is None:
        raise ConfigError("A session's name has 1 to 64 of the characters a-z, 0-9 and -.")
    token = token or fragment.get("token") or os.environ.get(TOKEN_VARIABLE) or None
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError("The token must be plain ASCII without spaces.")
    return Address(f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}", session, token)


def shown_url(url: str) -> str:
    """An address as it may be printed and logged: without what follows ``#``, where a token can be."""
    return url.partition("#")[0]
