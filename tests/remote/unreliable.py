"""A place behind a URL that fails on demand: fsspec's memory under another name, which counts and refuses calls."""

import errno
from pathlib import Path

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

PROTOCOL = "unreliable"


class Unreliable(MemoryFileSystem):
    """Objects in memory.

    Attributes:
        calls: how often each operation was asked for.
        failures: (operation, calls before it fails, calls that fail, error).
        lose: bytes that an upload loses at its end without a word.
    """

    protocol = PROTOCOL
    store = {}  # noqa: RUF012  as in the class above
    calls = {}  # noqa: RUF012
    failures = []  # noqa: RUF012
    lose = 0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix(f"{PROTOCOL}://"))

    @classmethod
    def reset(cls):
        cls.store.clear()
        cls.calls.clear()
        cls.failures.clear()
        cls.lose = 0

    @classmethod
    def _met(cls, name):
        number = cls.calls[name] = cls.calls.get(name, 0) + 1
        for operation, after, times, error in cls.failures:
            if operation == name and after < number <= after + times:
                raise error

    def cat_file(self, path, start=None, end=None, **kwargs):
        self._met("read")
        return super().cat_file(path, start, end, **kwargs)

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self._met("write")
        return super().pipe_file(path, value, mode, **kwargs)

    def put_file(self, lpath, rpath, callback=None, **kwargs):
        self._met("upload")
        data = Path(lpath).read_bytes()
        super().pipe_file(rpath, data[: len(data) - self.lose])

    def get_file(self, rpath, lpath, callback=None, **kwargs):
        self._met("download")
        Path(lpath).write_bytes(super().cat_file(rpath))

    def find(self, path, maxdepth=None, withdirs=False, detail=False, **kwargs):
        self._met("list")
        return super().find(path, maxdepth, withdirs, detail, **kwargs)

    def rm(self, path, recursive=False, maxdepth=None):
        self._met("delete")
        return super().rm(path, recursive, maxdepth)


fsspec.register_implementation(PROTOCOL, Unreliable, clobber=True)

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
FULL = OSError(errno.ENOSPC, "No space left on device")
