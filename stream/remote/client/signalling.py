"""The HTTP side of a client: offers, answers, and what a server's refusals mean to a person."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from stream.errors import RemoteError
from stream.remote.client.address import SESSION, Address
from stream.remote.refusals import NameTakenError, ServerFullError, UnknownSessionError

log = logging.getLogger(__name__)

MAX_ANSWER = 65_536
"""Bytes of a response that are read."""

REQUEST_SECONDS = 5.0
GOODBYE_SECONDS = 1.0
"""How long the farewell may take, which nobody waits for with joy."""

MAX_RETRY = 60


class AccessError(RemoteError):
    """The token is missing, wrong or for another role (401, 403); trying again does not help."""


class WaitError(RemoteError):
    """The server wants a client to come back later (429).

    :ivar retry_after: seconds.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    """What an accepted offer brought.

    :ivar sdp: the server's answer.
    :ivar location: absolute URL of the connection, to end it; empty where the server told none.
    """

    sdp: str
    location: str

    @property
    def name(self) -> str | None:
        """The location's last part: to a publisher, the session's name."""
        last = urlsplit(self.location).path.rpartition("/")[2]
        return last if SESSION.fullmatch(last) else None


class Signalling:
    """A server's HTTP interface, for one client.

    :param address: whose token goes with every request; redirections are not followed, or it might end up
        elsewhere.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS))
        if address.exposed:
            log.warning(
                "The token crosses the network unencrypted; use an https address where others listen."
            )

    async def close(self) -> None:
        """Close the HTTP connections."""
        await self.http.close()

    async def offer(self, url: str, sdp: str) -> Answer:
        """Post an offer.

        :raises RemoteError: the server cannot be reached or refuses; the message says what to do.
        """
        headers = {"Content-Type": "application/sdp", "Accept": "application/sdp"}
        status, text, location = await self._request("POST", url, sdp, headers)
        if status != 201 or not text.startswith("v=0"):
            raise RemoteError(f"{self.address.base} did not answer as a Prosopon server; check the address.")
        return Answer(text, self._own(urljoin(url, location)) if location else "")

    async def socket(self, url: str, protocol: str, most: int) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket.

        :param most: bytes of the longest message taken.
        :raises RemoteError: as `offer`.
        """
        try:
            return await self.http.ws_connect(
                url, headers=self.address.headers, protocols=(protocol,), max_msg_size=most
            )
        except aiohttp.WSServerHandshakeError as error:
            self._check(error.status, error.headers or {}, "")
            raise RemoteError(f"{self.address.base} offers no WebSocket; check the address.") from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise self._unreachable(error) from error

    async def leave(self, location: str) -> None:
        """Tell the server, as far as it can be reached, that the connection is over."""
        if location:
            try:
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await self._request("DELETE", location, None, {})
            except (RemoteError, TimeoutError):
                log.debug("The farewell did not arrive.")

    async def sessions(self) -> list[str]:
        """The names of the sessions there are.

        :raises RemoteError: as `offer`.
        """
        try:
            found = await self._json("sessions")
        except UnknownSessionError as error:
            raise RemoteError(f"{self.address.base} is no Prosopon server; check the address.") from error
        listed = found.get("sessions", []) if isinstance(found, dict) else []
        names = [entry.get("name") for entry in listed if isinstance(entry, dict)]
        return [name for name in names if isinstance(name, str) and SESSION.fullmatch(name)]

    async def choose_session(self) -> str:
        """The address's session, or the only one there is.

        :raises UnknownSessionError: there is none, or more than one.
        :raises RemoteError: as `offer`.
        """
        if self.address.session is not None:
            return self.address.session
        names = await self.sessions()
        if len(names) == 1:
            return names[0]
        if not names:
            raise UnknownSessionError(f"Nobody publishes at {self.address.base} yet; start a camera there.")
        some = ", ".join(names[:8])
        raise UnknownSessionError(f"There are several sessions ({some}); choose one with #session=NAME.")

    async def ice_servers(self) -> list[dict[str, Any]]:
        """The ICE servers that the server tells; none where it tells nothing usable."""
        try:
            config = await self._json("config")
        except (AccessError, WaitError):
            raise
        except RemoteError as error:
            log.debug("No ICE servers: %s", error)
            return []
        listed = config.get("ice_servers", []) if isinstance(config, dict) else []
        return [entry for entry in listed if isinstance(entry, dict) and "urls" in entry]

    async def _json(self, path: str) -> Any:
        _, text, _ = await self._request("GET", self.address.url(path), None, {"Accept": "application/json"})
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RemoteError(f"{self.address.base} is no Prosopon server; check the address.") from error

    async def _request(
        self, method: str, url: str, body: str | None, headers: dict[str, str]
    ) -> tuple[int, str, str]:
        """Status, bounded text and Location of a response that is no refusal."""
        headers = {**headers, **self.address.headers}
        try:
            async with self.http.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                text = (await _bounded(response)).decode("utf-8", "replace")
                self._check(response.status, response.headers, text)
                return response.status, text, response.headers.get("Location", "")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: BaseException) -> RemoteError:
        return RemoteError(
            f"{self.address.base} cannot be reached ({_reason(error)}); is the server running there?"
        )

    def _check(self, status: int, headers: Mapping[str, str], text: str) -> None:
        """Raise what a status means.

        :raises RemoteError: it is a refusal.
        """
        base = self.address.base
        if status < 300:
            return
        said = _sentence(text)
        retry = _seconds(headers.get("Retry-After"))
        if status == 401:
            raise AccessError(f"{base} wants {self._other()} token; give it with --token or PROSOPON_TOKEN.")
        if status == 403:
            raise AccessError(f"{base} does not allow this with that token; ask for one of the right role.")
        if status == 404:
            raise UnknownSessionError(f"There is no such session at {base}; see {base}/ for those there are.")
        if status == 409:
            raise NameTakenError(f"Somebody else publishes under that name at {base}; choose another name.")
        if status == 429:
            raise WaitError(f"{base} had too many requests from here; try again in {retry} s.", retry)
        if status == 503:
            raise ServerFullError(f"{base} takes nobody now{said}; try again in {retry} s.", retry)
        if status < 400:
            raise RemoteError(f"{base} has moved; use the address that it redirects to in a browser.")
        raise RemoteError(f"{base} refused with status {status}{said}; check its version and its log.")

    def _other(self) -> str:
        return "a" if self.address.token is None else "another"

    def _own(self, location: str) -> str:
        """The location, if it is the server's own: the token goes there."""
        theirs, ours = urlsplit(location), urlsplit(self.address.base)
        return location if (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc) else ""


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body; more than `MAX_ANSWER` bytes are no answer of ours.

    :raises ValueError: it is longer.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER:
            raise ValueError("the answer is too long")
    return bytes(body)


def _sentence(text: str) -> str:
    """The first line of an error's text, in brackets, or nothing."""
    line = re.sub(r"[^\x20-\x7e]", "?", text.strip().partition("\n")[0])[:200]
    return f" ({line.rstrip('.')})" if line and not line.startswith("<") else ""


def _seconds(text: str | None) -> int:
    return min(int(text), MAX_RETRY) if text and text.isascii() and text.isdigit() else 5


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {REQUEST_SECONDS:g} s"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted here; SSL_CERT_FILE can name the one to trust"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or type(error.os_error).__name__
    return str(error).partition("\n")[0][:120] or type(error).__name__
