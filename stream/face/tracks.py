"""Which face is which from frame to frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from stream.face.filters import OneEuroFilter
from stream.types import Array

KEEP_SECONDS = 0.5
"""A face that comes back within this time keeps its id."""

MAX_DISTANCE = 1.0
"""Largest distance, in face sizes, between where a face was expected and where one is found."""

TWIN_DISTANCE = 0.3
"""Two detections nearer than this, in face sizes, are one face found twice."""

_VELOCITY_SECONDS = 0.1
"""Time constant of a track's velocity estimate."""


def face_size(landmarks: Array) -> float:
    """Twice the root mean square distance of (N, 2+) points from their mean, pixels: half a face's height."""
    away = landmarks[:, :2] - _middle(landmarks)
    return 2 * math.sqrt(np.einsum("nd,nd->", away, away) / len(away))


@dataclass
class Track:
    """One followed face; changes as it is followed.

    :ivar track_id: unique in this `Tracks`.
    :ivar landmarks: (478, 3) float32, smoothed where asked for.
    :ivar raw: (478, 3) float32, as detected.
    :ivar seen: capture time of ``raw``, seconds.
    :ivar size: `face_size` of ``raw``, pixels.
    :ivar velocity: (2,) of the face's middle, pixels a second.
    :ivar pose: the last pose, (4, 4), once one is solved.
    """

    track_id: int
    landmarks: Array
    raw: Array
    seen: float
    size: float
    velocity: Array = field(default_factory=lambda: np.zeros(2))
    pose: Array | None = None
    smoother: OneEuroFilter = field(default_factory=OneEuroFilter)

    def expected(self, time: float) -> Array:
        """(478, 2) image points where the face should be at ``time``, moving on as it did."""
        return self.raw[:, :2] + self.velocity * (time - self.seen)


class Tracks:
    """Gives detections ids that stay: the nearest to where each known face was heading, over all landmarks.

    :param max_faces: more detections than this are dropped, the smallest first.
    :param smooth: filter each track's landmarks (`OneEuroFilter`).
    """

    def __init__(self, max_faces: int = 1, smooth: bool = True) -> None:
        self._max_faces = max_faces
        self._smooth = smooth
        self._tracks: list[Track] = []
        self._next_id = 0
        self._time = 0.0

    def update(self, detections: list[Array], time: float) -> list[Track]:
        """The faces seen in this frame, the largest first.

        :param detections: landmarks (478, 3) float32 of each face found.
        :param time: the frame's capture time, seconds; going back forgets all tracks.
        """
        if time < self._time:
            self.reset()
        self._time = time
        self._tracks = [track for track in self._tracks if time - track.seen <= KEEP_SECONDS]
        faces = _distinct(detections)[: self._max_faces]
        known = self._match(faces, time)
        seen = []
        for index, landmarks in enumerate(faces):
            track = known.get(index)
            if track is None:
                track = self._start(landmarks, time)
            else:
                _follow(track, landmarks, time)
            track.landmarks = track.smoother(landmarks, time, track.size) if self._smooth else landmarks
            seen.append(track)
        return sorted(seen, key=lambda track: -track.size)

    @property
    def followed(self) -> list[int]:
        """Ids of the faces that are followed, seen in the last frame or not."""
        return [track.track_id for track in self._tracks]

    def reset(self) -> None:
        """Forget all faces; ids are not used again."""
        self._tracks = []

    def _match(self, faces: list[Array], time: float) -> dict[int, Track]:
        """Pairs of detection index and track, taken greedily by distance."""
        pairs = []
        for track in self._tracks:
            expected = track.expected(time)
            for index, landmarks in enumerate(faces):
                distance = _distance(expected, landmarks) / track.size
                if distance < MAX_DISTANCE:
                    pairs.append((distance, index, track))
        known: dict[int, Track] = {}
        taken: set[int] = set()
        for _, index, track in sorted(pairs, key=lambda pair: pair[0]):
            if index not in known and track.track_id not in taken:
                known[index] = track
                taken.add(track.track_id)
        return known

    def _start(self, landmarks: Array, time: float) -> Track:
        track = Track(self._next_id, landmarks, landmarks, time, face_size(landmarks))
        self._next_id += 1
        self._tracks.append(track)
        return track


def _follow(track: Track, landmarks: Array, time: float) -> None:
    """Take the track to its new place."""
    step = time - track.seen
    if step > 0:
        moved = (_middle(landmarks) - _middle(track.raw)) / step
        track.velocity = track.velocity + (moved - track.velocity) * step / (step + _VELOCITY_SECONDS)
    track.raw, track.seen, track.size = landmarks, time, face_size(landmarks)


def _distinct(detections: list[Array]) -> list[Array]:
    """Detections without doubles, the largest first."""
    if len(detections) == 1:
        return detections
    kept: list[Array] = []
    for landmarks in sorted(detections, key=face_size, reverse=True):
        limit = TWIN_DISTANCE * face_size(landmarks)
        if all(_distance(other, landmarks) > limit for other in kept):
            kept.append(landmarks)
    return kept


def _middle(landmarks: Array) -> Array:
    """Mean x and y (2,); NumPy's own mean takes three times as long for so few."""
    return np.asarray(np.add.reduce(landmarks[:, :2], axis=0) / len(landmarks))


def _distance(a: Array, b: Array) -> float:
    """Mean distance between the points of two faces, pixels."""
    return float(np.hypot(*(a[:, :2] - b[:, :2]).T).mean())
