"""Sends each capture to a server as it is made."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import ClassVar

from stream.errors import OutputError
from stream.pipeline.demand import EVERY, Demand
from stream.remote.client.publishing.publisher import PublisherFigures, RemotePublisher
from stream.remote.loop_thread import LoopThread
from stream.types import Capture

CLOSE_SECONDS = 1.5


class PublishStage:
    """A sink that publishes captures (`stream.pipeline.stage.Stage`); its network is on a thread of its own.

    :param url, session, token: as `RemotePublisher`.
    :raises ConfigError: the address is none, or the name or token cannot be one.
    """

    name = "publish"
    wants: ClassVar[Demand] = {"surface": EVERY, "expression": EVERY}

    def __init__(self, url: str, session: str | None = None, token: str | None = None) -> None:
        self._publisher = RemotePublisher(url, session, token)
        self._thread: LoopThread | None = None

    def open(self) -> None:
        """Connect.

        :raises RemoteError: the server cannot be reached or refuses.
        """
        self._thread = LoopThread("publisher")
        try:
            self._thread.submit(self._publisher.open()).result()
        except BaseException:
            self.close()
            raise

    def __call__(self, capture: Capture) -> Capture:
        """Hand the capture over, and pass it on.

        :raises OutputError: the server no longer lets us publish.
        """
        if self._publisher.error is not None:
            raise OutputError(f"Nothing is published any more. {self._publisher.error}")
        self._publisher.offer(capture)
        return capture

    def close(self) -> None:
        """Say goodbye."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(TimeoutError):
                thread.submit(self._publisher.close()).result(CLOSE_SECONDS)
            thread.stop()

    @property
    def session(self) -> str | None:
        """The name that viewers use, once open."""
        return self._publisher.session

    @property
    def figures(self) -> PublisherFigures:
        """How the publisher fares."""
        return self._publisher.figures

    def panel(self) -> Sequence[str]:
        """Short texts for a panel."""
        figures = self.figures
        state = f"published as {self.session}" if figures.connected else "not connected to the server"
        return (state, f"{figures.dropped} not sent")
