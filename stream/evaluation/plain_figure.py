"""Figures whose words are shown as they stand: dollar signs in a file's or model's name are no formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plain(figure: Any) -> Any:
    """The Matplotlib figure, complete, with no text of it taken for a formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def is_plot(path: Path) -> bool:
    """Whether what lies there may be replaced by a plot unasked: nothing, or a PNG that Matplotlib made."""
    if not path.is_file():
        return True
    try:
        with path.open("rb") as file:
            return b"Matplotlib" in file.read(1024)
    except OSError:
        return False
