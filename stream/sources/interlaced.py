"""Interlaced video, whose frames are two moments by turns, to frames of one moment each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
from av.filter import Graph

FILTER = "mode=send_frame:deint=interlaced"
"""One frame for each, and only those that say they are interlaced are changed."""


def progressive(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The frames as they are, but interlaced ones without combs (FFmpeg's bwdif), one for each.

    From the first interlaced one on all go through the filter, for it looks at those before and after, too.

    :raises av.error.FFmpegError: a frame is of a kind that cannot be filtered.
    """
    graph, shape = None, None
    for frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        if graph is None or shape != _shape(frame):
            if graph is not None:
                yield from _rest(graph)
            graph, shape = _open(frame), _shape(frame)
        graph.vpush(frame)
        yield from _ready(graph)
    if graph is not None:
        yield from _rest(graph)


def _shape(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _open(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    graph.link_nodes(source, graph.add("bwdif", FILTER), graph.add("buffersink")).configure()
    return graph


def _ready(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _rest(graph: Graph) -> Iterator[av.VideoFrame]:
    graph.vpush(None)
    yield from _ready(graph)
