"""Objects behind a URL, through fsspec (https://filesystem-spec.readthedocs.io), with errors in words."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.callbacks import Callback

from spectral_graph.errors import ConfigError, RemoteError, SpectralGraphError
from spectral_graph.io.files import reporting_full_disk

PROBE = ".writable"
"""The object that `ObjectStore.require_writable` writes; a process that is killed may leave it."""
ASIDE = ".partial"
"""What is added to the name of an object while it is written where there is a rename."""
PATIENCE = 30.0
"""Seconds for which a store that has answered before may fail, on top of what its package waits by itself."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LASTING = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    ValueError,
    TypeError,
)
"""What a second attempt would meet again."""

Result = TypeVar("Result")

# What pip calls the package behind a protocol, where fsspec's own message does not say it.
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}


class ObjectStore:
    """The objects below a URL, by their path relative to it.

    An object appears with all its bytes or not at all, as object stores promise; with ``file://`` that holds for
    `write` only. A store that has answered once and then fails is asked again for `PATIENCE` seconds; one that never
    answered is given up at once.

    Args:
        url: e.g. ``s3://bucket/run``. Credentials and endpoints come from where the protocol's package looks for
            them, e.g. the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...) or fsspec's configuration.

    Raises:
        ConfigError: no package is installed for the protocol, or it is unknown.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        protocol = self.url.split(":", 1)[0]
        try:
            self._fs, root = fsspec.core.url_to_fs(self.url)
        except ImportError:
            package = _PACKAGES.get(protocol, "the package that fsspec names for it")
            extra = ", or spectral_graph[s3]" if package == "s3fs" else ""
            raise ConfigError(
                f"{url}: the package for {protocol}:// is not installed; pip install {package}{extra}"
            ) from None
        except ValueError as error:
            raise ConfigError(
                f"{url}: {str(error).rstrip('.')}; use a protocol that fsspec knows, e.g. s3://"
            ) from None
        except Exception as error:
            raise self._in_words(self.url, error) from error
        self._root = str(root).rstrip("/")
        self._answered = False
        self._local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def at(self, path: str) -> str:
        """Return the URL of an object, for messages."""
        return f"{self.url}/{path}"

    def read(self, path: str) -> bytes | None:
        """Return the bytes of an object, None if there is none."""

        def read() -> bytes | None:
            try:
                data: bytes = self._fs.cat_file(self._key(path))
            except FileNotFoundError:
                return None
            return data

        return self._insist(path, read)

    def write(self, path: str, data: bytes) -> None:
        """Put an object in place, all of it or nothing."""
        key = self._key(path)

        def write() -> None:
            if self._local:
                self._fs.makedirs(self._fs._parent(key), exist_ok=True)
                self._fs.pipe_file(f"{key}{ASIDE}", data)
                self._fs.mv(f"{key}{ASIDE}", key)
            else:
                self._fs.pipe_file(key, data)

        self._insist(path, write)

    def upload(self, source: Path, path: str, moved: Callable[[int], None]) -> None:
        """Put a local file in place; `moved` is told of bytes as they go."""
        key = self._key(path)

        def upload() -> None:
            if self._local:
                self._fs.makedirs(self._fs._parent(key), exist_ok=True)
            self._fs.put_file(str(source), key, callback=_Moved(moved))

        self._insist(path, upload)

    def download(self, path: str, target: Path, moved: Callable[[int], None]) -> bool:
        """Fetch an object into a local file; False if there is none."""

        def download() -> bool:
            with reporting_full_disk(target):
                try:
                    self._fs.get_file(self._key(path), str(target), callback=_Moved(moved))
                except FileNotFoundError:
                    return False
            return True

        return self._insist(path, download)

    def sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of all objects, by path."""

        def find() -> dict[str, Any]:
            self._fs.invalidate_cache()
            try:
                found: dict[str, Any] = self._fs.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
            return found

        start = len(self._root) + 1
        found = self._insist("", find)
        return {key[start:]: int(about["size"]) for key, about in found.items() if key.startswith(f"{self._root}/")}

    def delete(self, paths: Iterable[str]) -> None:
        """Remove objects; those that are gone already are passed over."""
        keys = [self._key(path) for path in paths]

        def delete() -> None:
            try:
                self._fs.rm(keys)
            except FileNotFoundError:
                for key in keys:
                    if self._fs.exists(key):
                        self._fs.rm(key)

        if keys:
            self._insist("", delete)

    def require_writable(self) -> None:
        """Write a small object and remove it.

        Raises:
            RemoteError: that failed; the message says why and what to do.
        """
        self.write(PROBE, b"")
        self.delete([PROBE])

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _insist(self, path: str, call: Callable[[], Result]) -> Result:
        """Return what `call` returns; it is repeated while a store that has answered before fails, and not for long."""
        failed: float | None = None
        pause = _FIRST_PAUSE
        while True:
            try:
                result = call()
            except SpectralGraphError:
                raise
            except Exception as error:  # every protocol has its own classes
                now = time.monotonic()
                failed = now if failed is None else failed
                if not self._answered or _lasts(error) or now - failed > PATIENCE:
                    raise self._in_words(self.at(path) if path else self.url, error) from error
            else:
                self._answered = True
                return result
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _in_words(self, url: str, error: Exception) -> RemoteError:
        said = _first_line(error)
        if isinstance(error, FileNotFoundError):
            cure = "create the bucket or folder, or correct the URL"
        elif isinstance(error, PermissionError) or "credential" in said.lower():
            cure = "use credentials that may read and write there"
        elif isinstance(error, OSError) and error.errno in _FULL:
            cure = "free some space there; what was sent is kept, and the same command goes on"
        else:
            cure = "the same command goes on once this is mended"
        return RemoteError(f"{url}: {said}; {cure}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _lasts(error: Exception) -> bool:
    full = isinstance(error, OSError) and error.errno in (*_FULL, errno.EROFS)
    return full or isinstance(error, _LASTING) or "credential" in _first_line(error).lower()


class _Moved(Callback):
    """Tells how many bytes went, in the form that fsspec calls."""

    def __init__(self, moved: Callable[[int], None]) -> None:
        super().__init__()
        self._told = moved

    def relative_update(self, inc: int = 1) -> None:
        """Take note of `inc` more bytes."""
        self._told(inc)
