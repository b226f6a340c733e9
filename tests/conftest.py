"""What all tests share."""

from __future__ import annotations

from pathlib import Path

_SHARED = Path(__file__).parents[1].parent / "shared"

SHARED: Path | None = _SHARED if _SHARED.is_dir() else None
"""Material beside the checkout that some tests compare with; they skip where it is absent."""
