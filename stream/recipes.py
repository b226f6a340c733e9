"""What the product works out of a frame, and how: its nodes, the plan of a use, and the stages of a plan.

`stream.session`, which all commands run, the still pictures of `stream.still` and the measurements build on
it; nothing else makes stages of the capture.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from stream.config import Settings
from stream.errors import BackendError, ConfigError, ModelError
from stream.face.camera import CameraSettings
from stream.memory import TrackMemory
from stream.pipeline.plan import FRAME, Choice, Node, Plan, Step, plan

if TYPE_CHECKING:
    from stream.device.stage import DeviceStage
    from stream.inference.engine import Engine
    from stream.pipeline.stage import Stage

log = logging.getLogger(__name__)

LIVE_SIDE = 128
"""Side of the maps that live meshes are made of, pixels. The network's own 192 make 2.25 times the vertices,
which two cores can mesh, but not also draw and record at 30 frames a second; stills keep them."""

LIVE_PRECISION = "f16"
"""Where float16's loss is measured and bounded, which is on a GPU; elsewhere exact (`load_engine`)."""

AUTO = "auto"


class CaptureSettings(Settings):
    """How faces are tracked and turned into meshes.

    :ivar max_faces: how many faces are followed at once, the largest first.
    :ivar smooth: One-Euro smoothing of landmarks, temporal smoothing of depth.
    :ivar camera: the camera, and the scale.
    :ivar inference: backend of the networks, by name.
    :ivar compute: backend of the kernels, by name.
    :ivar threads: threads of the depth network; ``None`` takes half of the cores.
    """

    max_faces: int = Field(1, ge=1, le=16)
    smooth: bool = True
    camera: CameraSettings = CameraSettings()
    inference: str = AUTO
    compute: str = AUTO
    threads: int | None = Field(None, ge=1, le=64)


def live_model(backend: str) -> str:
    """Name of the depth model of live capture on an inference backend.

    A CPU runs the network that computes in integers; TensorRT and torch run the float one, the former in
    float16.
    """
    from stream.inference.backends import DEVICE_BACKENDS

    return "depth" if backend in DEVICE_BACKENDS else "depth-live"


def depth_backends(inference: str) -> list[str]:
    """Inference backends that may run the depth network here, best first: the one that is named, or all that
    are there.

    :raises ConfigError: there is no backend of that name.
    """
    from stream.inference.backends import BACKENDS, backend_status

    if inference == AUTO:
        return [state.name for state in backend_status() if state.ready]
    if inference not in BACKENDS:
        raise ConfigError(f"There is no inference backend {inference!r}; choose auto, {', '.join(BACKENDS)}.")
    return [inference]


def load_depth(settings: CaptureSettings, batch: int = 1) -> Engine:
    """The network of live depth, on the first backend that can run it.

    :raises ConfigError, BackendError, ModelError: none can; the message says why.
    """
    from stream.inference.backends import load_engine
    from stream.models.store import open_model

    names = depth_backends(settings.inference)
    # The other cores track, mesh and draw meanwhile: on two, a second thread costs CPU and wins no time.
    threads = settings.threads or max(1, (os.cpu_count() or 1) // 2)
    for name in names:
        try:
            model = open_model(live_model(name))
            return load_engine(model, name, threads, LIVE_PRECISION, batch)
        except (BackendError, ModelError) as error:
            if name == names[-1]:
                raise
            log.warning("Depth does not run on %s, the next is tried. %s", name, error)
    raise BackendError("No inference backend is installed; install one with: pip install openvino.")


def load_device_depth(settings: CaptureSettings) -> Engine:
    """The network of the frames that stay on the GPU.

    :raises ConfigError, BackendError, ModelError: it cannot run there.
    """
    from stream.inference.backends import load_engine
    from stream.models.store import open_model

    backend = "tensorrt" if settings.inference == AUTO else settings.inference
    return load_engine(
        open_model(live_model(backend)), backend, settings.threads, LIVE_PRECISION, settings.max_faces
    )


def capture_nodes(settings: CaptureSettings, shared: bool = False) -> list[Node]:
    """All ways to work out what can be known of people; the better of two comes first.

    :param shared: several sessions use one depth network.
    """
    return [
        Node("face", (FRAME,), ("face",), "host", _choose_face),
        Node("expression", ("face",), ("expression",), "host", lambda: Choice(True, "the only one", "numpy")),
        Node(
            "device",
            (FRAME, "face"),
            ("depth", "surface", "mesh"),
            "gpu",
            lambda: _choose_device(settings, shared),
        ),
        Node("depth", (FRAME, "face"), ("depth",), "host", lambda: _choose_depth(settings)),
        Node("surface", ("depth",), ("surface",), "host", lambda: Choice(True, "the only one", "numba")),
        Node("mesh", (FRAME, "face", "surface"), ("mesh",), "host", lambda: _choose_mesh(settings)),
    ]


def plan_capture(
    wanted: Collection[str],
    settings: CaptureSettings,
    given: Collection[str] = (),
    shared: bool = False,
    nodes: Sequence[Node] = (),
) -> Plan:
    """What runs here to work out all that may be wanted.

    :param wanted: of `stream.types.FIELDS`, and what ``nodes`` give.
    :param given: what the source's captures hold already.
    :param shared: see `capture_nodes`.
    :param nodes: more of them, such as one that draws.
    :raises BackendError: something that is wanted cannot be worked out here; the message says why.
    :raises ConfigError: there is no backend of a name in the settings.
    """
    return plan(wanted, [*capture_nodes(settings, shared), *nodes], given)


def make_stage(
    step: Step,
    settings: CaptureSettings,
    memory: TrackMemory,
    load: Callable[[], Engine] | None = None,
    side: int = LIVE_SIDE,
) -> Stage:
    """The stage of a step of `plan_capture`, not yet open.

    :param memory: of the session.
    :param load: gives the depth network, where it is not `load_depth`.
    :param side: of the depth maps, pixels.
    :raises ConfigError: a setting is out of range, or the step is not one of `capture_nodes`.
    """
    # Each is imported where it is made: cv2, mediapipe and CUDA are slow to load.
    if step.name == "face":
        from stream.face.stage import FaceStage

        return FaceStage(settings.max_faces, settings.smooth, settings.camera, memory=memory)
    if step.name == "expression":
        from stream.expression.stage import ExpressionStage

        return ExpressionStage(settings.camera.ipd_mm, memory, settings.max_faces, settings.compute)
    if step.name == "device":
        return device_stage(settings, memory=memory, side=side)
    if step.name == "depth":
        from stream.depth.stage import DepthStage

        return DepthStage(load or (lambda: load_depth(settings)), side, settings.smooth, memory)
    if step.name == "surface":
        from stream.mesh.stage import SurfaceStage

        return SurfaceStage()
    if step.name == "mesh":
        from stream.mesh.stage import MeshStage

        return MeshStage(step.backend)
    raise ConfigError(f"There is no capture node named {step.name!r}.")


def device_stage(
    settings: CaptureSettings,
    graphs: bool = True,
    memory: TrackMemory | None = None,
    side: int = LIVE_SIDE,
) -> DeviceStage:
    """The stage that makes depth, surfaces and meshes on the GPU, not yet open (see `DeviceStage`)."""
    from stream.device.stage import DeviceStage

    return DeviceStage(
        lambda: load_device_depth(settings), side, settings.max_faces, settings.smooth, graphs, memory
    )


def _choose_face() -> Choice:
    if importlib.util.find_spec("mediapipe") is None:
        return Choice(False, "mediapipe is not installed; install it with: pip install mediapipe==0.10.21")
    return Choice(True, "the only one", "mediapipe")


def _choose_device(settings: CaptureSettings, shared: bool) -> Choice:
    """Whether a GPU, its kernels and a network library for it are there, as far as can be told cheaply."""
    from stream.compute.backends import why_not
    from stream.inference.backends import DEVICE_BACKENDS, backend_status

    if shared:
        return Choice(False, "it serves one session; here they share a network, which takes them in batches")
    if settings.compute not in (AUTO, "cuda"):
        return Choice(False, f"the kernels are to run on {settings.compute}")
    if (reason := why_not("cuda")) is not None:
        return Choice(False, reason)
    backend = "tensorrt" if settings.inference == AUTO else settings.inference
    if backend not in DEVICE_BACKENDS:
        return Choice(False, f"{backend} does not work on the GPU's memory")
    (state,) = (state for state in backend_status() if state.name == backend)
    if not state.ready:
        return Choice(False, "; ".join(part for part in (state.why, state.how) if part))
    return Choice(True, "frames stay on the GPU", f"{backend}, cuda", live_model(backend))


def _choose_depth(settings: CaptureSettings) -> Choice:
    names = depth_backends(settings.inference)
    if not names:
        return Choice(False, "no inference backend is installed; install one with: pip install openvino")
    why = "the first that is there" if settings.inference == AUTO else "asked for by name"
    return Choice(True, why, names[0], live_model(names[0]))


def _choose_mesh(settings: CaptureSettings) -> Choice:
    from stream.compute.backends import choose_backend

    try:
        backend = choose_backend(settings.compute)
    except BackendError as error:
        return Choice(False, str(error))
    why = "the first that is there" if settings.compute == AUTO else "asked for by name"
    return Choice(True, why, backend)
