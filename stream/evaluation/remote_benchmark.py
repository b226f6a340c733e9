"""Measures a remote session on this machine, from camera to viewer, by a clock in the picture.

The camera draws the time at which it "takes" each picture below it (`stream.evaluation.clock_strip`). The
viewer reads it from the picture that belongs to the mesh, and compares it with the time at which the mesh
arrived. It thus measures the whole way, the camera's video codec included, and needs no trust in the
server's own capture times, whose error it tells. Server, camera and viewer are processes of their own on
one machine, so on two cores they also measure how they get on with each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from stream.errors import FaceError
from stream.evaluation.benchmark import BenchSettings, first_captures
from stream.evaluation.machine import describe_machine
from stream.pipeline.metrics import percentiles_ms
from stream.types import Array, Face

RATE = 30.0
"""Pictures that the camera takes in a second."""

LIMITS = {"latency_ms": 120.0, "mesh_mbit_s": 1.5, "rms_mm": 0.5, "encode_ms": 1.0, "decode_ms": 2.0}
"""What is promised: the 95th percentile of the latency, the median of the times."""

PACKET_BYTES = 20 + 8 + 13 + 8 + 16 + 12 + 16
"""Around a datagram: IPv4, UDP, DTLS (header, nonce, tag), SCTP (common header, DATA chunk)."""

SESSION = "bench"

MOST_SECONDS = 86_400.0
"""The camera films until the server ends."""

CODEC_FRAMES = 90


def run_remote_benchmark(
    settings: BenchSettings, progress: Callable[[str], None] = lambda name: None
) -> dict[str, Any]:
    """A server, a camera at 30 pictures a second and a viewer, for ``settings.frames`` pictures.

    :param settings: ``source``, ``frames``, ``warmup`` and ``capture`` are used.
    :param progress: told what is done next.
    :returns: ``latency_ms`` and the other figures of `summarise`; ``codec`` of `measure_codec`; ``stages``,
        ``outputs``, ``drops`` and ``fps`` of the server's session; ``rss_mb`` of the server; ``rows``,
        `stream.evaluation.remote_parts.ViewerRecord.rows`; ``limits``, ``machine`` and ``settings``.
    :raises ProsoponError: the source or a model is not to be had, or there is no face to be seen.
    """
    from stream.evaluation.remote_parts import Server, in_process, run_camera, run_viewer
    from stream.remote.settings import ServeSettings

    progress("the codec")
    codec = measure_codec(settings)
    progress("camera, server and viewer")
    warmup, seconds = settings.warmup / RATE, settings.frames / RATE
    with Server(ServeSettings(port=0, capture=settings.capture)) as server:
        camera = in_process(run_camera, server.url, SESSION, settings.source, RATE, MOST_SECONDS)
        watched = in_process(run_viewer, server.url, SESSION, warmup, seconds).result()
        session = server.metrics()[SESSION]
        rss = server.process.memory_info().rss / 2**20
    camera.result()  # it ends with the server
    rows = np.array(watched.rows, np.int64).reshape(-1, 5)
    return {
        **summarise(rows, watched.seconds),
        "mesh_mbit_s": watched.mesh_bytes * 8e-6 / watched.seconds,
        "video_mbit_s": (watched.bytes - watched.mesh_bytes) * 8e-6 / watched.seconds,
        "skipped": watched.skipped,
        "lost": watched.lost,
        "codec": codec,
        **{key: session[key] for key in ("stages", "outputs", "drops", "loop_lag_ms")},
        "server_fps": session["fps"],
        "server_latency_ms": session["latency_ms"],
        "rss_mb": rss,
        "rows": rows.tolist(),
        "limits": LIMITS,
        "machine": describe_machine(),
        "settings": settings.model_dump(mode="json"),
    }


def summarise(rows: Array, seconds: float) -> dict[str, Any]:
    """What a viewer's rows say.

    :param rows: (N, 5) int64, see `stream.evaluation.remote_parts.ViewerRecord`.
    :returns: {p50, p95, p99} milliseconds each of ``latency_ms``, capture to mesh received, by the picture's
        clock; ``shown_ms``, until its picture was there too; ``header_ms``, the same as ``latency_ms`` by
        the header's capture time; ``clock_error_ms``, the header's capture time less the picture's, signed;
        ``meshes``, ``fps``, ``legible`` (share of meshes whose picture's clock was read), and
        ``longest_gap_ms`` between two meshes.
    :raises FaceError: there was no mesh with a legible picture.
    """
    _, captured, arrived, ready, shown = rows.T
    legible = shown > 0
    if not legible.any():
        raise FaceError("No mesh with its picture arrived; measure with another --source, or longer.")
    clock = shown[legible]
    return {
        "latency_ms": percentiles_ms((arrived[legible] - clock) / 1e6),
        "shown_ms": percentiles_ms((ready[legible] - clock) / 1e6),
        "header_ms": percentiles_ms((arrived - captured) / 1e6),
        "clock_error_ms": percentiles_ms((captured[legible] - clock) / 1e6),
        "meshes": len(rows),
        "fps": len(rows) / seconds,
        "legible": float(legible.mean()),
        "longest_gap_ms": float(np.diff(arrived).max(initial=0)) / 1e3,
    }


def measure_codec(settings: BenchSettings, frames: int = CODEC_FRAMES) -> dict[str, Any]:
    """The mesh codec over the source's first frames, each of them, without a network.

    :returns: ``encode_ms`` and ``decode_ms`` {p50, p95, p99}; ``rms_mm``, the largest of all frames, against
        the surface that was encoded; ``mbit_s`` at 30 frames a second with all that the network adds;
        ``keys``, the share of key frames.
    :raises FaceError: no frame shows a face.
    """
    from stream.protocol.fragments import Kind, Message
    from stream.protocol.mesh_codec import MeshDecoder, MeshEncoder
    from stream.remote.settings import SendSettings

    send = SendSettings()
    encoder, decoder = MeshEncoder(send.bits, send.key_seconds, send.mesh_budget), MeshDecoder()
    encoding, decoding, errors, keys, sent = [], [], [], 0, 0
    captures = first_captures(settings, "surface", frames)
    for number, capture in enumerate(captures, start=1):
        face, surface = capture.people[0].face, capture.people[0].surface
        assert surface is not None
        captured = round(number / RATE * 1e6)
        begun = time.perf_counter()
        message = encoder.encode(number, face, surface, number, captured)
        encoded = time.perf_counter()
        received = decoder.decode(number, message.body)
        decoding.append(time.perf_counter() - encoded)
        encoding.append(encoded - begun)
        keys += message.key
        datagrams = Message(Kind.MESH, 0, number, message.body).datagrams
        sent += sum(PACKET_BYTES + -(-len(data) // 4) * 4 for data in datagrams)
        assert received is not None, "each message is decoded right after it was encoded"
        errors.append(_rms_mm(received.depth, surface.depth, face))
    return {
        "encode_ms": percentiles_ms(np.array(encoding)),
        "decode_ms": percentiles_ms(np.array(decoding)),
        "rms_mm": max(errors),
        "mbit_s": sent * 8e-6 * RATE / len(captures),
        "keys": keys / len(captures),
    }


def _rms_mm(received: Array, sent: Array, face: Face) -> float:
    from stream.geometry import mm_per_crop_unit

    seen = np.isfinite(received)
    unit = mm_per_crop_unit(face.crop, face.intrinsics, float(face.pose[2, 3]))
    return float(np.sqrt(np.mean(((received - sent)[seen] * unit) ** 2)))
