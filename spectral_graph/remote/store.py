"""Objects behind a URL, through fsspec (https://filesystem-spec.readthedocs.io), and transfers of many at once."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.callbacks import Callback
from fsspec.implementations.local import LocalFileSystem

from spectral_graph.errors import ConfigError, RemoteError, SpectralGraphError
from spectral_graph.io.files import FULL_DISK, reporting_full_disk
from spectral_graph.progress import Reporter

PROBE = ".writable"
"""The object that `ObjectStore.require_writable` writes; a killed process may leave it."""
ASIDE = ".partial"
"""Suffix of the name of an object while it is written, where the store can rename."""
PATIENCE = 30.0
"""Seconds of retries for a store that has answered before, on top of the retries of its package."""
WORKERS = 16
"""Files in transfer at once: small ones wait for the network, not for its bandwidth."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
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
"""Errors that a second attempt would meet again."""

Result = TypeVar("Result")
Moved = Callable[[int], None]
"""Called with the bytes of a file that are moved so far."""

# The packages that pip installs for a protocol, where fsspec's own message does not name them.
_PACKAGES = dict.fromkeys(("s3", "s3a"), "s3fs") | dict.fromkeys(("gs", "gcs"), "gcsfs")
_PACKAGES |= dict.fromkeys(("abfs", "abfss", "az"), "adlfs")


class ObjectStore:
    """The objects below a URL, by their path relative to it.

    An object appears with all its bytes or not at all, as object stores promise; with ``file://`` that holds for
    `write` only. A store that has answered once and then fails is asked again for `PATIENCE` seconds; one that has
    never answered fails at once.

    Args:
        url: e.g. ``s3://bucket/run``. The protocol's package finds credentials and endpoints by itself, e.g. in the
            environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...) or in fsspec's configuration.

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
            raise _remote_error(self.url, error) from error
        self._root = str(root).rstrip("/")
        self._answered = False
        self._local = isinstance(self._fs, LocalFileSystem)

    def at(self, path: str) -> str:
        """Return the URL of an object, for messages."""
        return f"{self.url}/{path}"

    def read(self, path: str) -> bytes | None:
        """Return the bytes of an object, None if there is none."""
        return self._call(path, lambda: self._fs.cat_file(self._key(path)), None)

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

        self._call(path, write)

    def upload(self, source: Path, path: str, moved: Moved) -> None:
        """Put a local file in place."""
        key = self._key(path)

        def upload() -> None:
            if self._local:
                self._fs.makedirs(self._fs._parent(key), exist_ok=True)
            self._fs.put_file(str(source), key, callback=_callback(moved))

        self._call(path, upload)

    def download(self, path: str, target: Path, moved: Moved) -> bool:
        """Fetch an object into a local file; False if there is none."""

        def download() -> bool:
            with reporting_full_disk(target):
                self._fs.get_file(self._key(path), str(target), callback=_callback(moved))
            return True

        return self._call(path, download, False)

    def sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of all objects, by path."""

        def find() -> Any:
            self._fs.invalidate_cache()
            return self._fs.find(self._root, detail=True)

        start = len(self._root) + 1
        found: dict[str, Any] = self._call("", find, {})
        return {key[start:]: int(about["size"]) for key, about in found.items() if key.startswith(f"{self._root}/")}

    def delete(self, paths: Iterable[str]) -> None:
        """Remove objects; missing ones are skipped."""
        keys = [self._key(path) for path in paths]

        def delete() -> None:
            try:
                self._fs.rm(keys)
            except FileNotFoundError:
                for key in keys:
                    if self._fs.exists(key):
                        self._fs.rm(key)

        if keys:
            self._call("", delete)

    def require_writable(self) -> None:
        """Write a small object and remove it.

        Raises:
            RemoteError: that failed; the message has the reason and a cure.
        """
        self.write(PROBE, b"")
        self.delete([PROBE])

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _call(self, path: str, call: Callable[[], Result], *absent: Result) -> Result:
        """Return the result of `call`, or `absent` where an object is missing; retry for `PATIENCE` seconds."""
        failed: float | None = None
        pause = _FIRST_PAUSE
        while True:
            try:
                result = call()
            except SpectralGraphError:
                raise
            except Exception as error:  # every protocol has its own classes
                if absent and isinstance(error, FileNotFoundError):
                    result = absent[0]
                else:
                    now = time.monotonic()
                    failed = now if failed is None else failed
                    if not self._answered or _lasts(error) or now - failed > PATIENCE:
                        raise _remote_error(self.at(path) if path else self.url, error) from error
                    time.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    continue
            self._answered = True
            return result


def transfer(reporter: Reporter, what: str, sizes: Mapping[str, int], move: Callable[[str, Moved], None]) -> None:
    """Move files in several threads, with progress in megabytes; after an error the files in transfer are finished.

    Args:
        reporter: shows the progress.
        what: its name, e.g. `upload`.
        sizes: bytes of each file, by path.
        move: moves one file and reports its bytes; called in several threads.
    """
    moved, lock, total = dict.fromkeys(sizes, 0), threading.Lock(), 0

    def note(path: str, count: int) -> None:
        nonlocal total
        with lock:
            new = min(count, sizes[path]) - moved[path]
            if new > 0:  # bytes that a retry sends again count once
                before, total = total, total + new
                moved[path] += new
                if units := _megabytes(total) - _megabytes(before):
                    tracker.advance(units)

    def one(path: str) -> None:
        move(path, partial(note, path))
        note(path, sizes[path])

    with (
        reporter.track(what, _megabytes(sum(sizes.values())), "MB") as tracker,
        ThreadPoolExecutor(WORKERS) as pool,
    ):
        futures = [pool.submit(one, path) for path in sizes]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _megabytes(count: int) -> int:
    """Return bytes in megabytes, rounded up, so that a small file is not 0 MB."""
    return -(-count // 1_000_000)


def _callback(moved: Moved) -> Callback:
    return Callback(hooks={"moved": lambda size, value, **_: moved(value)})


def _remote_error(url: str, error: Exception) -> RemoteError:
    text = _first_line(error)
    if isinstance(error, FileNotFoundError):
        cure = "create the bucket or folder, or correct the URL"
    elif isinstance(error, PermissionError) or "credential" in text.lower():
        cure = "use credentials that may read and write there"
    elif isinstance(error, OSError) and error.errno in FULL_DISK:
        cure = "free some space there, then run the same command to resume"
    else:
        cure = "fix this, then run the same command to resume"
    return RemoteError(f"{url}: {text}; {cure}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _lasts(error: Exception) -> bool:
    full = isinstance(error, OSError) and error.errno in FULL_DISK | {errno.EROFS}
    return full or isinstance(error, _LASTING) or "credential" in _first_line(error).lower()
