"""HTML in which text from a file is always escaped: elements, and the frame of a self-contained page.

A page is one file that loads nothing and runs one script, which its Content-Security-Policy names by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from importlib import resources

from fx2py.errors import escaped

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
NOTHING = "'none'"
_IN_JSON = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: str) -> Markup:
    """Text as HTML, in an element or in a quoted attribute; invisible characters are shown as Python escapes."""
    if isinstance(text, Markup):
        return text
    if text.isalnum():
        return Markup(text)
    return Markup("".join([_ESCAPES.get(sign) or escaped(sign, "\n") for sign in text]))


def element(name: str, *content: str, **attributes: str | bool | float) -> Markup:
    """An element; an attribute that is False is left out, ``class_`` is ``class``, ``data_x`` is ``data-x``."""
    parts = [
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not False
    ]
    return Markup(f"<{name}{''.join(parts)}>{joined(content)}</{name}>")


def joined(parts: Iterable[str]) -> Markup:
    """Texts, escaped, and markup, as it is, in one."""
    return Markup("".join([escape(part) for part in parts]))


def document(title: str, body: Markup, styles: Iterable[str], script: str = "", data: object = None) -> str:
    """A whole page: ``styles`` and ``script`` name files beside this one; ``data`` is JSON that the script reads."""
    style, code = "\n".join(map(_file, styles)), _file(script) if script else ""
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(code) if code else NOTHING}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    text = json.dumps(data, separators=(",", ":"))
    inert = "".join([_IN_JSON.get(sign, sign) for sign in text])
    scripts = f"""
<script type="application/json" id="data">{inert}</script>
<script>{code}</script>"""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
{body}{scripts if code else ""}
</body>
</html>
"""


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
