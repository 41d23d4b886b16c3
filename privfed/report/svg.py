"""Turns a matplotlib figure into inline SVG that takes its colours and its font from the page."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from privfed.report.palette import SENTINEL

_COLOUR = {value: f"var(--{name})" for name, value in SENTINEL.items()}
_UNITS_PER_INCH = 72  # of matplotlib's SVG
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_GEOMETRY = ("d", "x", "y", "width", "height", "transform", "viewBox", "points")


@contextmanager
def drawing() -> Iterator[None]:
    """Set how pictures are drawn inside: text stays text, "$" is a dollar sign, ids do not vary."""
    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "privfed",
            "text.parse_math": False,
            "font.size": 11,
        }
    ):
        yield


def inline(figure: Figure, name: str, title: str, description: str) -> Markup:
    """Write a figure as an `<svg>` element for an HTML page.

    Args:
        figure: A figure whose colours are those of `SENTINEL`.
        name: Prefix of every id, so that pictures on one page do not clash; a letter first.
        title: What the picture shows, for those who cannot see it.
        description: What can be read from it, for the same people.

    Returns:
        The element: role "img", as wide as its container, no style sheet, no font, no address.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The browser's fonts draw the text; what matplotlib's own font lacks does not matter.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    source = ET.fromstring(_NOT_XML.sub("\ufffd", buffer.getvalue()))  # noqa: S314 - made above
    root = ET.Element(
        "svg",
        {
            "class": "picture",
            "id": name,
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
            "viewBox": _short(source.attrib["viewBox"]),
        },
    )
    ET.SubElement(root, "title", {"id": f"{name}-title"}).text = _NOT_XML.sub("\ufffd", title)
    ET.SubElement(root, "desc", {"id": f"{name}-desc"}).text = _NOT_XML.sub("\ufffd", description)
    for child in source:
        if not child.tag.endswith("}metadata") and child.find("{*}style") is None:
            root.append(_rewrite(child, name))
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - ElementTree escaped it


def _rewrite(element: ET.Element, name: str) -> ET.Element:
    """Return a copy without namespaces, with its own ids, short numbers and the page's colours."""
    attributes: dict[str, str] = {}
    for key, value in element.attrib.items():
        key = key.rpartition("}")[2]
        if key == "id":
            if value.startswith("series-"):
                attributes["class"] = value
                continue
            value = f"{name}-{value}"
        elif key == "href":
            value = f"#{name}-{value[1:]}"
        elif key in _GEOMETRY:
            value = _short(value)
            if key == "transform" and value.startswith("rotate(-0 "):
                continue
        else:
            value = value.replace("url(#", f"url(#{name}-")
            value = re.sub(r"\s*font-family:[^;]*;", "", value)
            value = re.sub("#[0-9a-f]{6}", lambda m: _COLOUR.get(m[0], "currentColor"), value)
        attributes[key] = value
    copy = ET.Element(element.tag.rpartition("}")[2], attributes)
    if element.text and element.text.strip():
        copy.text = element.text
    copy.extend(_rewrite(child, name) for child in element)
    return copy


def _short(geometry: str) -> str:
    """Round coordinates to a tenth of a unit, which is finer than a pixel."""
    rounded = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), geometry)
    return re.sub(r"\s*([MLCQz])\s*", r"\1", rounded).strip()
