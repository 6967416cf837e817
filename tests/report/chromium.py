"""Chromium, driven through two pipes, which opens pages and records requests and policy violations."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
READS, WRITES = 3, 4  # descriptors of Chromium for its debugger

# Everything that a handler of an injected attribute could wait for.
TOUCH = """
for (const part of document.querySelectorAll("*"))
  for (const kind of ["mouseover", "focus", "load", "error", "toggle"]) part.dispatchEvent(new Event(kind));
"""
LOOK = """(() => ({
  title: document.title,
  widths: [...document.images].map((image) => [image.getAttribute("src").slice(0, 80), image.naturalWidth]),
  links: [...document.querySelectorAll("[href], [src], [action]")]
    .map((part) => (part.href?.baseVal ?? part.href ?? part.src).slice(0, 9000)),
  swatches: [...document.querySelectorAll(".legend i")].map((part) => getComputedStyle(part).backgroundColor),
  columns: [...document.querySelectorAll("div.group")]
    .map((part) => getComputedStyle(part).getPropertyValue("--pictures")),
  strokes: [...document.querySelectorAll(".chart svg path")].map((part) => getComputedStyle(part).strokeWidth),
}))()"""


def find() -> str | None:
    """Return the path of the browser; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Visit:
    """The state of a page after a visit."""

    title: str
    widths: list[tuple[str, int]]
    links: list[str]
    swatches: list[str]
    columns: list[str]
    strokes: list[str]
    refused: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Chromium:
    """A browser; use it as a context."""

    def __enter__(self) -> Chromium:
        self.folder = tempfile.TemporaryDirectory()
        reads, self.to = os.pipe()
        self.back, writes = os.pipe()

        def connect() -> None:
            # Copies first: one of the two may itself have the number that the other is to get.
            for pipe, number in [(os.dup(reads), READS), (os.dup(writes), WRITES)]:
                high = os.dup2(pipe, number + 100)
                os.dup2(high, number)

        self.process = subprocess.Popen(
            [find() or "chromium", *FLAGS, f"--user-data-dir={self.folder.name}"],
            preexec_fn=connect,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        self.sent, self.waiting = 0, b""
        self.events: list[dict[str, Any]] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for part in ("Page", "Log", "Network"):
            self.tell(f"{part}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.to)
        os.close(self.back)
        shutil.rmtree(self.folder.name, ignore_errors=True)  # its children may still write for a moment
        self.folder._finalizer.detach()  # type: ignore[attr-defined]

    def visit(self, page: Path) -> Visit:
        """Open a page, send events to all its elements, and return its state."""
        self.events = []
        self.tell("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._read()
        self.run(TOUCH)
        found = Visit(**self.run(LOOK))
        for event in self.events:
            if event["method"] == "Log.entryAdded" and "Content Security Policy" in event["params"]["entry"]["text"]:
                found.refused.append(event["params"]["entry"]["text"])
            if event["method"] == "Network.requestWillBeSent":
                found.requests.append(event["params"]["request"]["url"])
        return found

    def run(self, code: str) -> Any:
        """Evaluate JavaScript on the page outside its policy and return the value."""
        return self.tell("Runtime.evaluate", expression=code, returnByValue=True)["result"].get("value")

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the page's debugger."""
        return self._ask(method, self.session, **parameters)

    def _ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters}
        os.write(self.to, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while (answer := self._read()).get("id") != self.sent:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self.waiting:
            more = os.read(self.back, 1 << 16)
            assert more, "the browser has ended"
            self.waiting += more
        raw, _, self.waiting = self.waiting.partition(b"\0")
        message = json.loads(raw)
        if "method" in message:
            self.events.append(message)
        return message
