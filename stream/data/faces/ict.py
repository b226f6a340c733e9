"""The ICT-FaceKit head: identity and expression to vertices, in the head frame (see `stream.types`).

Source: Li et al., "Learning Formation of Physically-Based Face Attributes", CVPR 2020 (ICT-FaceKit, MIT).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream.data.faces.head import HeadModel
from stream.data.shards import ICT
from stream.errors import ModelError
from stream.files import ARCHIVE_ERRORS

IDENTITY_MODES = 50
"""Principal components of identity in use, of 100: the rest move the face by 0.15 mm or less on average."""

EXPRESSIONS = 57

SKIN_END = 9409
HEAD_END = 11248
MOUTH_SOCKET_END = 13294
EYE_SOCKET_END = 14062
GUMS_END = 17039
TEETH_END = 21451
EYES_END = 24591
"""First vertex after each part; lashes, lacrimal fluid and occlusion planes behind are left out."""

PART_ENDS = (SKIN_END, HEAD_END, MOUTH_SOCKET_END, EYE_SOCKET_END, GUMS_END, TEETH_END, EYES_END)

NARROW_FACE_END = 6706
"""Face skin without ears, throat and back of the cheeks."""

EYE_CORNERS_AND_LIDS = ((36, 39, 37, 38, 40, 41), (42, 45, 43, 44, 46, 47))
"""Multi-PIE landmarks round the right and the left eye."""

MULTI_PIE_68 = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147,
    4269, 3360, 1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081,
    0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)  # fmt: skip
"""Vertex of each of the 68 Multi-PIE landmarks, as published with ICT-FaceKit."""


def load_head_model(path: Path) -> HeadModel:
    """Read ``ict_facekit.npz`` (neutral, identity, expression, expression_names, quads; centimetres, y up).

    :raises ModelError: the file is missing or is not that.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            neutral = data["neutral"][:EYES_END].astype(np.float32)
            identity = data["identity"][:IDENTITY_MODES, :EYES_END].astype(np.float32)
            expression = data["expression"][:, :EYES_END].astype(np.float32)
            names = tuple(str(name) for name in data["expression_names"])
            quads = data["quads"].astype(np.int32)
    except ARCHIVE_ERRORS as error:
        raise ModelError(f"{path} is not an ICT-FaceKit archive: {error}.") from error
    if neutral.shape != (EYES_END, 3) or len(identity) != IDENTITY_MODES or len(expression) != EXPRESSIONS:
        raise ModelError(f"{path} holds arrays of unexpected sizes; rebuild it from ICT-FaceKit Light.")
    to_head = np.array([10.0, -10.0, -10.0], np.float32)
    neutral, identity, expression = neutral * to_head, identity * to_head, expression * to_head
    lids = np.array([[MULTI_PIE_68[i] for i in eye] for eye in EYE_CORNERS_AND_LIDS])
    origin = neutral[lids].mean(axis=(0, 1))
    quads = quads[(quads < EYES_END).all(axis=1)]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    basis = np.concatenate([identity, expression]).reshape(IDENTITY_MODES + EXPRESSIONS, -1)
    part = np.searchsorted(np.array(PART_ENDS), np.arange(EYES_END), side="right").astype(np.uint8)
    face = np.arange(EYES_END) < NARROW_FACE_END
    return HeadModel(
        neutral - origin, basis, IDENTITY_MODES, names, np.ascontiguousarray(triangles), part, face, ICT
    )
