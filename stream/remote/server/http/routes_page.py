"""The page: files that were listed and read when the server started, and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import logging
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

from stream.errors import ConfigError

log = logging.getLogger(__name__)

DIST = Path(__file__).parents[2] / "web" / "dist"

INDEX = "index.html"

MAX_BYTES = 64 * 2**20
"""Of all files together, for they stay in memory."""

COMPRESSED = ("text/", "application/json", "image/svg", "model/gltf-binary")
"""Beginnings of the types that gzip makes smaller; scripts are text."""

_TYPES = {".js": "text/javascript", ".glb": "model/gltf-binary", ".webmanifest": "application/manifest+json"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent.

    :ivar packed: gzip of the body, or None where it does not pay.
    """

    body: bytes
    packed: bytes | None
    kind: str
    etag: str


def read_assets(folder: Path = DIST) -> dict[str, Asset]:
    """All files of a folder by their path in it.

    A link is left out: it could lead elsewhere.

    :raises ConfigError: the folder holds more than `MAX_BYTES`.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if folder / INDEX not in files:
        log.warning("The page is not built, so that only programs can use the server.")
    if sum(path.stat().st_size for path in files) > MAX_BYTES:
        raise ConfigError(f"{folder} holds more than {MAX_BYTES >> 20} MiB; is it the built page?")
    return {path.relative_to(folder).as_posix(): _read(path) for path in files}


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    packed = gzip.compress(body, mtime=0) if kind.startswith(COMPRESSED) else None
    if packed is not None and len(packed) > 0.9 * len(body):
        packed = None
    return Asset(body, packed, kind, hashlib.sha256(body).hexdigest()[:32])


class PageRoutes:
    """``/`` and ``/assets/...``; without a token, for the page asks for it."""

    def __init__(self, assets: dict[str, Asset]) -> None:
        self._assets = assets

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/", self.send)
        app.router.add_get("/{name:assets/.+}", self.send)

    async def send(self, request: web.Request) -> web.Response:
        """The page itself, or one of its files by its exact name."""
        asset = self._assets.get(request.match_info.get("name", INDEX))
        if asset is None:
            raise web.HTTPNotFound
        return _answer(request, asset)


def _answer(request: web.Request, asset: Asset) -> web.Response:
    headers = {hdrs.ETAG: f'"{asset.etag}"', hdrs.CACHE_CONTROL: "no-cache"}
    known = request.headers.get(hdrs.IF_NONE_MATCH, "")
    if asset.etag in {tag.strip().removeprefix("W/").strip('"') for tag in known.split(",")}:
        return web.Response(status=304, headers=headers)
    body = asset.body
    if asset.packed is not None and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower():
        body = asset.packed
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    kind = f"{asset.kind}; charset=utf-8" if asset.kind.startswith("text/") else asset.kind
    return web.Response(body=body, headers={**headers, hdrs.CONTENT_TYPE: kind})
