"""A session: a source, what is worked out of its frames, and who wants it. All commands run one.

::

    session = Session(open_source("webcam"), [sink], CaptureSettings())
    summary = session.run()
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypedDict, Unpack

from stream.blas import keep_blas_single
from stream.memory import TrackMemory
from stream.pipeline.demand import Demand, Demands
from stream.pipeline.metrics import Metrics
from stream.pipeline.plan import FRAME, Choice, Node
from stream.pipeline.run import run_pipeline
from stream.pipeline.runner import Pipeline, Summary
from stream.recipes import LIVE_SIDE, CaptureSettings, make_stage, plan_capture

if TYPE_CHECKING:
    from stream.inference.engine import Engine
    from stream.pipeline.slot import Policy
    from stream.pipeline.source import Source
    from stream.pipeline.stage import Sink, Stage

PICTURE = "picture"
"""What is drawn of a capture, as sinks want it (`stream.types.Capture.picture`)."""


class Limits(TypedDict, total=False):
    """How long a session runs, what it drops and what it counts; see `Pipeline`."""

    duration: float | None
    frames: int | None
    warmup: int
    metrics_port: int | None
    window: int
    metrics: Metrics | None
    settle: bool
    policy: Policy | None


class Session:
    """One source's way to its sinks; runs once.

    The plan is made for all that the sinks may want; while it runs, each frame gets what they want just then.

    :param sinks: what they want decides what is worked out; each gets every capture.
    :param wanted: all that the sinks may come to want, where that is more than they want at first.
    :param draw: the stage that gives ``picture``, where one is wanted.
    :param load: gives this session its share of a depth network that several use
        (`stream.inference.shared.SharedEngine.front`); without, it loads one of its own.
    :param side: of the depth maps, pixels.
    :param limits: how long it runs, what it drops, and what it counts.
    :ivar plan: what runs.
    :ivar pipeline: what runs it.
    :raises BackendError: something that may be wanted cannot be worked out here; the message says why.
    :raises ConfigError: a setting is out of range.
    """

    def __init__(
        self,
        source: Source,
        sinks: Sequence[Sink],
        settings: CaptureSettings,
        *,
        wanted: Collection[str] = (),
        draw: Stage | None = None,
        load: Callable[[], Engine] | None = None,
        side: int = LIVE_SIDE,
        **limits: Unpack[Limits],
    ) -> None:
        keep_blas_single()
        given: Collection[str] = getattr(source, "gives", ())
        may_want = set(wanted).union(*(sink.wants for sink in sinks))
        drawing = [] if draw is None else [drawing_node(draw)]
        self.plan = plan_capture(may_want, settings, given, shared=load is not None, nodes=drawing)
        memory = TrackMemory()
        stages = [
            draw
            if draw is not None and step.name == draw.name
            else make_stage(step, settings, memory, load, side)
            for step in self.plan.steps
        ]
        self.pipeline = Pipeline(
            source,
            stages,
            sinks,
            after={step.name: step.after for step in self.plan.steps},
            demands=Demands(self.plan, [partial(_wants, sink) for sink in sinks]),
            **limits,
        )

    @property
    def metrics(self) -> Metrics:
        """What it counts, and goes on counting while it runs."""
        return self.pipeline.metrics

    def run(self) -> Summary:
        """Run to the end on an event loop of its own; Ctrl-C, SIGTERM and SIGHUP stop it cleanly.

        :raises ProsoponError: see `Pipeline.run`.
        """
        return run_pipeline(self.pipeline)

    def stop(self) -> None:
        """See `Pipeline.stop`."""
        self.pipeline.stop()


def _wants(sink: Sink) -> Demand:
    return sink.wants


def drawing_node(stage: Stage) -> Node:
    """The node of a stage that draws everybody's mesh."""
    return Node(
        stage.name, (FRAME, "mesh"), (PICTURE,), "host", lambda: Choice(True, "asked for", "moderngl")
    )
