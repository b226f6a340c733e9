"""The comparison of depth methods as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

ACCURACY = {
    "l1": ("L1", ".4f"),
    "l1_normalised": ("L1 ±1", ".4f"),
    "l1_skin": ("L1 skin", ".4f"),
    "side": ("SIDE", ".2f"),
    "normals_skin": ("MAD", ".1f"),
    "normals_rotated": ("turned", ".1f"),
    "mm_shift": ("mm", ".2f"),
    "mm_tilt": ("mm tilt", ".2f"),
    "mm_own": ("own", ".2f"),
    "surface_median": ("surface", ".2f"),
    "surface_mean": ("mean", ".2f"),
    "surface_std": ("std", ".2f"),
    "iou": ("IoU", ".3f"),
    "coverage": ("cover", ".2f"),
}
FEATURES = {
    "deviation": ("own shape r", ".2f"),
    "deviation_calm": ("calm r", ".2f"),
    "deviation_r2": ("R²", ".2f"),
    "nose.ratio": ("nose ratio", ".3f"),
    "nose.error": ("error", ".4f"),
    "mouth.ratio": ("mouth ratio", ".2f"),
    "mouth.right": ("right", ".0%"),
    "mouth.samples": ("n", "d"),
    "leak": ("leak", ".1%"),
    "mm_near_occluder": ("mm near", ".2f"),
    "mm_elsewhere": ("away", ".2f"),
    "confidence.spearman": ("conf. rank", ".2f"),
    "normals_own": ("own normals", ".1f"),
}
LEGEND = """\
L1: crop units, over the head; ±1: with the true depth scaled to [-1, 1]. SIDE: times 100. MAD: normals of the
skin, degrees; turned: after the best rotation. mm: depth MAE of the skin after scale and offset; tilt: after
tilt too; own: only where the method says something. surface: distances after alignment, mm.
own shape: deviation from the mean face, correlation (calm: of faces without expression) and R². nose:
protrusion over face height, to the true one. mouth: depth of open mouths, to the true one; right: within
25 %. leak: how much of an occluder the mask lets through; near, away: mm tilt beside it and elsewhere. conf.:
rank correlation with the error, best -1."""


def accuracy_table(name: str, part: dict[str, Any]) -> Table:
    """How near each method comes to the truth on one set."""
    floor = part["floor"]["normals_skin"]
    found = "" if floor is None else f"; the true depth itself scores MAD {floor:.1f}"
    return _table(f"{name}: {part['samples']} samples{found}", part, ACCURACY)


def feature_table(name: str, part: dict[str, Any]) -> Table:
    """What each method makes of persons, noses, mouths, occluders and its own errors on one set."""
    return _table(f"{name}: features", part, FEATURES)


def _table(title: str, part: dict[str, Any], columns: dict[str, tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", padding=(0, 0, 0, 1), box=None)
    table.add_column("method")
    methods = part["methods"].values()
    # A column that no method fills only costs room.
    filled = {
        key: spec for key, spec in columns.items() if any(_value(one, key) is not None for one in methods)
    }
    for heading, _ in filled.values():
        table.add_column(heading, justify="right")
    for name, method in part["methods"].items():
        label = name if method["found"] == part["samples"] else f"{name} (found {method['found']})"
        table.add_row(label, *(_cell(_value(method, key), spec) for key, (_, spec) in filled.items()))
    return table


def _value(method: dict[str, Any], key: str) -> Any:
    group, _, name = key.rpartition(".")
    holder = method[group] if group else method
    # No sample at all is nothing to show either.
    return None if holder is None or (name == "samples" and not holder[name]) else holder[name]


def _cell(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)
