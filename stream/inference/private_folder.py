"""Folders for what runs when it is read, such as compiled networks: nobody but the user may write to them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from stream.errors import BackendError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_folder(folder: Path) -> None:
    """See that a folder of the user's cache, and the one above it, are the user's alone to write to.

    :raises BackendError: another user could have written there, or it is no folder.
    """
    parent, state = folder.parent.lstat(), folder.lstat()
    # The folder above is shared with other caches, which a umask of 002 leaves open to the user's group.
    if parent.st_uid == os.getuid() and stat.S_ISDIR(parent.st_mode):
        folder.parent.chmod(stat.S_IMODE(parent.st_mode) & ~_OTHERS_WRITE)
        parent = folder.parent.lstat()
    check_owner(folder.parent, parent, stat.S_ISDIR(parent.st_mode))
    check_owner(folder, state, stat.S_ISDIR(state.st_mode))


def check_owner(path: Path, state: os.stat_result, right_kind: bool) -> None:
    """See that a path is of the right kind, and the user's alone to write to.

    :raises BackendError: it is not.
    """
    if right_kind and state.st_uid == os.getuid() and not state.st_mode & _OTHERS_WRITE:
        return
    raise BackendError(
        f"The engine cache {path} could have been written by another user, and what is in it is native "
        f"code; remove it."
    )
