"""Figures whose words are shown as they stand: dollar signs in a file's or model's name are no formula."""

from __future__ import annotations

from typing import Any


def plain(figure: Any) -> Any:
    """The Matplotlib figure, complete, with no text of it taken for a formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure
