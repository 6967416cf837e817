"""Objects behind a URL, through fsspec (https://filesystem-spec.readthedocs.io), with errors in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.callbacks import Callback

from spectral_graph.errors import ConfigError, RemoteError, SpectralGraphError
from spectral_graph.files import disk_full_in_words

_PROBE = ".writable"

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
    `write` only.

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
        self._local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def at(self, path: str) -> str:
        """Return the URL of an object, for messages."""
        return f"{self.url}/{path}"

    def read(self, path: str) -> bytes | None:
        """Return the bytes of an object, None if there is none."""
        with self._worded(path):
            try:
                data: bytes = self._fs.cat_file(self._key(path))
            except FileNotFoundError:
                return None
        return data

    def write(self, path: str, data: bytes) -> None:
        """Put an object in place, all of it or nothing."""
        key = self._key(path)
        with self._worded(path):
            if self._local:
                self._fs.makedirs(self._fs._parent(key), exist_ok=True)
                self._fs.pipe_file(f"{key}.partial", data)
                self._fs.mv(f"{key}.partial", key)
            else:
                self._fs.pipe_file(key, data)

    def upload(self, source: Path, path: str, moved: Callable[[int], None]) -> None:
        """Put a local file in place; `moved` is told of bytes as they go."""
        key = self._key(path)
        with self._worded(path):
            if self._local:
                self._fs.makedirs(self._fs._parent(key), exist_ok=True)
            self._fs.put_file(str(source), key, callback=_Moved(moved))

    def download(self, path: str, target: Path, moved: Callable[[int], None]) -> bool:
        """Fetch an object into a local file; False if there is none."""
        with self._worded(path), disk_full_in_words(target):
            try:
                self._fs.get_file(self._key(path), str(target), callback=_Moved(moved))
            except FileNotFoundError:
                return False
        return True

    def sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of all objects, by path."""
        with self._worded(""):
            self._fs.invalidate_cache()
            try:
                found: dict[str, Any] = self._fs.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
        start = len(self._root) + 1
        return {key[start:]: int(about["size"]) for key, about in found.items() if key.startswith(f"{self._root}/")}

    def delete(self, paths: Iterable[str]) -> None:
        """Remove objects that are there."""
        keys = [self._key(path) for path in paths]
        if keys:
            with self._worded(""):
                self._fs.rm(keys)

    def require_writable(self) -> None:
        """Write a small object and remove it.

        Raises:
            RemoteError: that failed; the message says why and what to do.
        """
        self.write(_PROBE, b"")
        self.delete([_PROBE])

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextmanager
    def _worded(self, path: str) -> Iterator[None]:
        try:
            yield
        except SpectralGraphError:
            raise
        except Exception as error:  # every protocol has its own classes
            raise self._in_words(self.at(path) if path else self.url, error) from error

    def _in_words(self, url: str, error: Exception) -> RemoteError:
        said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        if isinstance(error, FileNotFoundError):
            cure = "create the bucket or folder, or correct the URL"
        elif isinstance(error, PermissionError) or "credential" in said.lower():
            cure = "use credentials that may read and write there"
        else:
            cure = "the same command goes on once this is mended"
        return RemoteError(f"{url}: {said}; {cure}")


class _Moved(Callback):
    """Tells how many bytes went, in the form that fsspec calls."""

    def __init__(self, moved: Callable[[int], None]) -> None:
        super().__init__()
        self._told = moved

    def relative_update(self, inc: int = 1) -> None:
        """Take note of `inc` more bytes."""
        self._told(inc)
