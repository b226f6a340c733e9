"""Where OpenVINO keeps compiled networks, so that the next start takes a third of the time.

Measured with the shipped int8 network on two cores: 0.3 s instead of 1.0. OpenVINO's key holds the network
with its weights, all properties and its own version; what is damaged or cut off it compiles anew.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from stream.errors import BackendError
from stream.files import cache_folder
from stream.inference.private_folder import check_folder

FOLDER = "openvino"
"""Of the user's cache (`stream.files.cache_folder`)."""

MOST = 32
"""Networks that are kept, some megabytes each; OpenVINO itself never removes one."""

log = logging.getLogger(__name__)


def kept_networks() -> Path | None:
    """The folder, made and tidied up; None where it cannot be had, which costs only time."""
    if not hasattr(os, "getuid"):  # whose a folder is cannot be told here
        return None
    folder = cache_folder(FOLDER)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_folder(folder)
        _tidy_up(folder)
    except (OSError, BackendError) as error:
        log.info("Compiled networks are not kept: %s", error)
        return None
    return folder


def _tidy_up(folder: Path) -> None:
    """Remove the oldest beyond `MOST`."""
    kept = sorted(folder.glob("*.blob"), key=lambda path: path.lstat().st_mtime)
    for path in kept[:-MOST]:
        path.unlink(missing_ok=True)
