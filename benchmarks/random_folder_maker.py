"""Folders of images as users have them, and worse: names, formats, sizes, label values and nesting drawn from a seed.

`make_folder` writes one, `judge` says what is wrong with the way in which a command took it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from spectral_graph.config import STAGES

FAST = [
    *("--size", "112", "--layers", "last:1", "--kinds", "vv", "--c-intra", "5", "--c-inter", "5"),
    *("--channels", "8", "--kmeans-seeds", "0", "--kmeans-init", "1", "--gallery", "2"),
]
STEMS = (
    *(
        "a",
        "b",
        "IMG_0001",
        "photo 1",
        "x.y",
        "ümlaut",
        "猫",
        "😀",
        "-dash",
        "..dots",
        "#hash?x=1&y",
        "50%25",
        "a'b\"c",
    ),
    *("image.json", "index.html", "run", "report", "images", "nul", "<img src=x onerror=alert(1)>", "a;b|c", "tail "),
    *("line\nbreak", "\x1b[31mred", "e\u0301", "\u202egpj", "long" * 50),
)
SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".bmp", ".tif", ".tiff", ".webp", ".gif")
KINDS = ("rgb", "grey", "palette", "rgba", "bilevel", "grey16", "cmyk", "float")
SIZES = ((64, 48), (48, 64), (33, 97), (1, 1), (1, 40), (200, 9), (300, 220))
FOLDERS = ("", "", "", "sub", "sub/deep", "with space", "ö")


@dataclass
class Made:
    """What was written.

    Attributes:
        root: the folder.
        options: more options for the command.
        photos: files that a person would call images, by path relative to the place where photos are looked for.
        about: what was drawn, for messages.
    """

    root: Path
    options: list[str] = field(default_factory=list)
    photos: list[str] = field(default_factory=list)
    about: list[str] = field(default_factory=list)


def make_folder(parent: Path, seed: int) -> Made:
    """Write a random folder below `parent`."""
    rng = np.random.default_rng(seed)
    made = Made(parent / _pick(rng, ("photos", "photos", "my photos", "räume", "-p", "ro\udcffot", "a;b")))
    made.root.mkdir(parents=True)
    paired = rng.random() < 0.6
    photos = made.root / "images" if paired else made.root
    photos.mkdir(exist_ok=True)
    for _ in range(int(rng.integers(0, 7)) if rng.random() < 0.1 else int(rng.integers(2, 7))):
        _write_photo(rng, photos, made)
    if paired:
        _write_labels(rng, made, photos)
    if rng.random() < 0.4:
        _write_oddities(rng, photos, made)
    if rng.random() < 0.25:
        _write_classes(rng, made)
    if rng.random() < 0.2:
        made.options += ["--bad-images", "refuse"]
    if rng.random() < 0.2:
        made.options += ["--scope", "batch", "--batch", str(int(rng.integers(1, 5)))]
    if rng.random() < 0.2:
        made.options += ["--clusters", str(int(rng.integers(2, 9)))]
    return made


def _pick(rng: np.random.Generator, choices: tuple) -> object:
    return choices[int(rng.integers(len(choices)))]


def _name(rng: np.random.Generator, suffix: str) -> bytes:
    if rng.random() < 0.06:
        return b"\xff\xfe\xe4" + str(int(rng.integers(9))).encode() + os.fsencode(suffix)
    stem = _pick(rng, STEMS) if rng.random() < 0.6 else f"photo{int(rng.integers(99))}"
    return os.fsencode(f"{stem}{suffix}")


def _image(rng: np.random.Generator, kind: str, size: tuple[int, int]) -> Image.Image:
    w, h = size
    rgb = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    if rng.random() < 0.3:
        rgb[:] = rgb[0, 0]  # equal patches: pages, sky
    image = Image.fromarray(rgb)
    if kind == "grey16":
        return Image.fromarray(rng.integers(0, _pick(rng, (256, 4096, 65536)), (h, w)).astype(np.uint16))
    if kind == "float":
        return Image.fromarray(rng.random((h, w)).astype(np.float32))
    mode = {"rgb": "RGB", "grey": "L", "palette": "P", "rgba": "RGBA", "bilevel": "1", "cmyk": "CMYK"}[kind]
    return image.convert(mode)


def _write_photo(rng: np.random.Generator, folder: Path, made: Made) -> None:
    suffix, kind, size = _pick(rng, SUFFIXES), _pick(rng, KINDS), _pick(rng, SIZES)
    place = folder / _pick(rng, FOLDERS)
    place.mkdir(parents=True, exist_ok=True)
    path = Path(os.fsdecode(os.fsencode(place) + b"/" + _name(rng, suffix)))
    if path.exists():
        return
    image = _image(rng, kind, size)
    try:
        image.save(path)
    except (OSError, KeyError, ValueError):
        path.unlink(missing_ok=True)
        image.convert("RGB").save(path)
    damage = rng.random()
    if damage < 0.06:
        path.write_bytes(path.read_bytes()[: int(rng.integers(0, 60))])
    elif damage < 0.1:
        path.write_bytes(b"no image at all\n")
    made.about.append(f"{kind} {size} {path.name!a}")
    if not path.name.startswith("."):
        made.photos.append(str(path.relative_to(folder)))


def _write_labels(rng: np.random.Generator, made: Made, photos: Path) -> None:
    labels = made.root / "labels"
    labels.mkdir(exist_ok=True)
    values = _pick(rng, ((0, 1, 2), (0, 255), (10, 200), (0, 40000, 65535), (3,), (255,), (0, 1, 254, 255), (7, 7, 9)))
    ending = _pick(rng, (".png", ".png", ".png", ".png", "_mask.png", ".jpg", ".tif", ".PNG", ".bmp"))
    made.about.append(f"labels {values} {ending}")
    for name in made.photos:
        chance = rng.random()
        if chance < 0.15:
            continue
        stem = name[: name.rindex(".")]
        path = labels / f"{stem}{ending}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(photos / name) as image:
                w, h = image.size
        except (OSError, ValueError):
            w, h = 20, 30
        if chance < 0.22:
            w, h = h + 13, w
        pattern = np.array(values)[rng.integers(0, len(values), (h, w))]
        pattern[: h // 2] = values[0]
        dtype = np.uint16 if max(values) > 255 else np.uint8
        image = Image.fromarray(pattern.astype(dtype))
        if dtype == np.uint16 and ending.endswith((".jpg", ".bmp")):
            image = Image.fromarray((pattern >> 8).astype(np.uint8))
        if chance > 0.95:
            image = image.convert("RGB")
        try:
            image.save(path)
        except (OSError, ValueError):
            continue
        if chance > 0.9:
            path.write_bytes(path.read_bytes()[:40])


def _write_oddities(rng: np.random.Generator, folder: Path, made: Made) -> None:
    for odd in {str(_pick(rng, ("fifo", "loop", "broken", "directory", "hidden", "text", "heic", "run", "self")))}:
        made.about.append(odd)
        if odd == "fifo":
            os.mkfifo(folder / "pipe.png")
        elif odd == "loop":
            (folder / "loop.jpg").symlink_to("loop.jpg")
        elif odd == "broken":
            (folder / "gone.png").symlink_to("nowhere.png")
        elif odd == "directory":
            (folder / "folder.jpg").mkdir()
        elif odd == "hidden":
            Image.new("RGB", (9, 9)).save(folder / ".hidden.png")
        elif odd == "text":
            (folder / "notes.txt").write_text("notes")
        elif odd == "heic":
            (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
        elif odd == "self":
            (folder / "again").symlink_to(folder)
        else:
            made.options.append("--out-inside")


def _write_classes(rng: np.random.Generator, made: Made) -> None:
    text = _pick(
        rng,
        (
            b"ground\ndisc\nsky\n",
            b"\xef\xbb\xbfground\r\ndisc\r\n",
            b"",
            b"a\na\n",
            b"\xff\xfe\x00",
            b"one\n",
            b"a b\n\nc\n",
        ),
    )
    (made.root / "classes.txt").write_bytes(text)
    made.about.append(f"classes {text!r}")


def judge(made: Made, out: Path, code: int, told: str) -> list[str]:
    """Return what is wrong with the outcome of a build; an empty list if nothing.

    Args:
        made: the folder.
        out: the run directory.
        code: exit code.
        told: all that was written to standard output and standard error.
    """
    faults = []
    if "Traceback" in told or "Warning" in told or "Exception ignored" in told:
        faults.append("a traceback or a warning of a library was shown")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", told):
        faults.append("a control character reached the terminal")
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    if code == 2:
        if len(errors) != 1:
            faults.append(f"{len(errors)} error lines, expected 1")
        if _state(out, "extract") == "complete":
            faults.append("the error came after the extraction")
        return faults
    if code != 0 or errors:
        return [*faults, f"exit code {code} with {len(errors)} error lines"]
    if any(_state(out, stage) != "complete" for stage in STAGES):
        faults.append("exit code 0, but a stage is not complete")
        return faults
    found = json.loads((out / "metrics.json").read_text())
    kept, skipped = found["dataset"]["images"], len(found["dataset"]["skipped"])
    if kept + skipped < len(made.photos):
        faults.append(f"{kept} images and {skipped} skipped ones, but {len(made.photos)} photos were there")
    for name, entry in found["methods"].items():
        if "hungarian" not in entry:
            continue
        scored = entry["images_scored"] + entry["images_without_label"]
        if scored + entry.get("images_ignored", 0) != kept:
            faults.append(f"{name}: {scored} images scored or without label of {kept}")
        if sum(map(sum, entry["seeds"][0]["confusion"])) != entry["pixels_scored"]:
            faults.append(f"{name}: the confusion matrix does not hold all pixels that were scored")
    return faults


def _state(out: Path, stage: str) -> str:
    try:
        return str(json.loads((out / "run.json").read_text())["stages"][stage]["state"])
    except (OSError, ValueError, KeyError):
        return "open"
