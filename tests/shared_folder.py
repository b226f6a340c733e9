"""Where the material beside the checkout lies that some tests compare with; they skip where it is absent."""

from __future__ import annotations

from pathlib import Path

_SHARED = Path(__file__).parents[2] / "shared"

SHARED: Path | None = _SHARED if _SHARED.is_dir() else None
