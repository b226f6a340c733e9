"""Which compute backends there are, and which of them can run here."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from stream.compute.cuda.current import why_no_driver
from stream.errors import BackendError, ConfigError

AUTO = "auto"
COMPUTE_BACKENDS = ("cuda", "numba")
"""Best first: the order in which ``auto`` tries them."""


def why_not(name: str) -> str | None:
    """Why the compute backend ``name`` cannot run here, as one sentence; ``None`` if it can.

    :raises ConfigError: there is no backend of that name.
    """
    if name == "cuda":
        return why_no_driver()
    if name == "numba":
        return _numba_missing()
    known = ", ".join((AUTO, *COMPUTE_BACKENDS))
    raise ConfigError(f"There is no compute backend {name!r}; choose one of: {known}.")


def choose_backend(name: str = AUTO) -> str:
    """The name of the backend to use: ``name`` itself, or for ``auto`` the best one that can run.

    :raises ConfigError: there is no backend of that name.
    :raises BackendError: it cannot run here; the message says why.
    """
    names = COMPUTE_BACKENDS if name == AUTO else (name,)
    reasons = [why_not(candidate) for candidate in names]
    for candidate, reason in zip(names, reasons, strict=True):
        if reason is None:
            return candidate
    raise BackendError(" ".join(reason for reason in reasons if reason))


def load_twin(kernel: str, name: str = AUTO) -> ModuleType:
    """Import (and so compile, unless cached) a backend's module of ``kernel``; safe from several threads.

    :raises ConfigError, BackendError: as `choose_backend`.
    """
    return importlib.import_module(f"stream.compute.{choose_backend(name)}_twin.{kernel}")


def _numba_missing() -> str | None:
    # Looked for, not imported: that takes a second, and drags scipy in.
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed; install it with: pip install numba."
    return None
