"""The frame of every HTML page that this package writes: its head, its stylesheet and its Content-Security-Policy.

The policy allows the page's own stylesheet and script by their SHA-256, and pictures; everything else is blocked:
other scripts and styles, requests to the network, forms. Inline `style` attributes would need 'unsafe-inline', so
their declarations become classes of the stylesheet.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

MARK = '<meta name="generator" content="spectral_graph">'
"""Line of the head by which a page of this package is recognised."""

_HERE = Path(__file__).parent


class Styles:
    """The declarations of a page's `style` attributes, as classes."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}

    def class_of(self, declarations: str) -> str:
        """Return the class of some CSS declarations, e.g. ``background: #102030``."""
        return self._classes.setdefault(str(declarations).strip(), f"s{len(self._classes)}")

    def without_styles(self, svg: str) -> str:
        """Return SVG of matplotlib with each `style` attribute replaced by a class."""

        def tag(found: re.Match[str]) -> str:
            return re.sub(r'\sstyle="([^"]*)"', lambda style: f' class="{self.class_of(style[1])}"', found[0])

        # Only inside tags: a text may read like an attribute.
        return re.sub(r"<[a-zA-Z][^<>]*>", tag, svg)

    @property
    def rules(self) -> str:
        """The CSS rules of all classes."""
        return "".join(f".{name} {{ {declarations} }}\n" for declarations, name in self._classes.items())


def render_html(template: str, title: str, *, pictures: str, script: str = "", **values: Any) -> bytes:
    """Render a page.

    Args:
        template: file name of the template of the body, in this folder.
        title: title of the page.
        pictures: sources of pictures that the policy allows, e.g. ``data:``.
        script: file name of the script, in this folder; empty for none.
        values: variables of the template.

    Returns:
        The page, UTF-8. A file name may hold bytes that are not UTF-8: they are written as ``\\udc80``.
    """
    import jinja2

    styles = Styles()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(web_link=web_link, style_class=styles.class_of, without_styles=styles.without_styles)
    body = environment.get_template(template).render(**values)
    style = (_HERE / "page.css").read_text(encoding="utf-8") + styles.rules
    code = (_HERE / script).read_text(encoding="utf-8") if script else ""
    html = environment.get_template("frame.html.jinja").render(
        title=title, mark=MARK, policy=policy(style, code, pictures), style=style, body=body, script=code
    )
    return html.encode("utf-8", "backslashreplace")


def policy(style: str, script: str, pictures: str) -> str:
    """Return the Content-Security-Policy of a page with one `style` element and at most one `script` element."""
    rules = ["default-src 'none'", f"img-src {pictures}", f"style-src {_sha256(style)}"]
    rules += [f"script-src {_sha256(script)}"] if script else []
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def web_link(address: str) -> str:
    """Return an address if its scheme is http or https, else an empty string: javascript: and file: are no links."""
    return address if address.lower().startswith(("https://", "http://")) else ""


def _sha256(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
