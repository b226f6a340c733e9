"""Every error Prosopon raises on purpose.

The message is one plain sentence that says what happened and what to do about it; the command line
prints it as it is and keeps the traceback for ``--debug``.
"""


class ProsoponError(Exception):
    """Base of all errors raised on purpose; the command line turns it into exit code 1."""


class ConfigError(ProsoponError):
    """A setting, preset or argument is unknown or out of range."""


class SourceError(ProsoponError):
    """A camera, file or folder cannot give frames."""


class FaceError(ProsoponError):
    """No usable face where one is needed."""


class InputError(ProsoponError):
    """An array or image has the wrong shape, dtype or values (NaN, empty, too large)."""


class ModelError(ProsoponError):
    """A model file is missing, damaged, or not what the manifest says."""


class BackendError(ProsoponError):
    """A backend (inference, compute, render, tracker) cannot run here."""


class MissingExtraError(BackendError):
    """A library that belongs to an optional extra is not installed.

    :param library: the import that failed, e.g. ``torch``.
    :param extra: the extra that brings it, e.g. ``train``.
    """

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed; install it with: pip install 'prosopon[{extra}]' "
            f"(in a checkout: pip install -e '.[{extra}]')"
        )
        self.library = library
        self.extra = extra


class ProtocolError(ProsoponError):
    """What a peer sent does not follow the protocol; it is left out, the session goes on."""


class RemoteError(ProsoponError):
    """A server or peer cannot be reached, refuses, or is gone."""


class OutputError(ProsoponError):
    """A result cannot be written."""
