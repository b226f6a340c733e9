"""What a server refuses, each with the HTTP status that says so."""

from __future__ import annotations

from collections.abc import Mapping

from stream.errors import RemoteError


class UnknownSessionError(RemoteError):
    """There is no such session or viewer (404)."""


class NameTakenError(RemoteError):
    """A live session has that name (409)."""


class SupersededError(RemoteError):
    """It is about an ICE session that was restarted meanwhile (412)."""


class ServerFullError(RemoteError):
    """No more sessions or viewers fit (503).

    :ivar retry_after: seconds after which to try again.
    """

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StillLoadingError(ServerFullError):
    """The models are not loaded yet (503); they are soon."""

    def __init__(self) -> None:
        super().__init__("The server is still loading its models; try again soon.", retry_after=1)


class RefusedError(RemoteError):
    """A request that breaks HTTP's or this server's rules.

    :ivar status: of the answer.
    :ivar headers: that the answer needs besides.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
