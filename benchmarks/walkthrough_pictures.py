"""The pictures of docs/vertical-walkthrough.md, from a run's results and the tables it took."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from privfed.data import Pair
from privfed.report import vertical_linear, vertical_pictures
from privfed.report.charts import Palette
from privfed.report.palette import DARK, LIGHT, css_variables
from privfed.report.pictures import Key, Picture, picture
from privfed.vertical.linear.results import LinearResults

__all__ = ["draw"]

_WIDTH, _UNITS = 760.0, 72.0  # of a picture, and of an inch
_PANEL, _GAP, _HEAD, _EDGE = 440.0, 44.0, 30.0, 16.0  # of the report's pictures side by side
_LINE, _KEY = _EDGE + 12.0, 110.0  # where a heading stands, and the width of a key's entry
_COMMON, _OTHERS = 3, 2  # rows that a table shows
_TABLE = 350.0
_SHOWN = {  # the ID first
    "guest": ("email", "overdrafts", "paid_late"),
    "host": ("Email", "reminders", "returned_share"),
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"


def draw(results: LinearResults, pair: Pair) -> Mapping[str, str]:
    """Return each picture as SVG by its file's name; the same results give the same text."""
    whose = vertical_linear.coefficient_key(results)
    compared = [vertical_pictures.measure_dots(results), vertical_pictures.gain_dots(results)]
    sheets: dict[str, tuple[list[Picture | None], Sequence[Key]]] = {
        "tables": ([_tables(pair)], ()),
        "shared": ([_shared(results, pair)], ()),
        "seen": ([_seen(results)], ()),
        "model": ([vertical_linear.coefficient_bars(results)], whose),
        "gain": (compared, vertical_pictures.GAIN_KEY),
    }
    return {
        f"{name}.svg": _sheet([one for one in drawn if one is not None], keys)
        for name, (drawn, keys) in sheets.items()
    }


def _sheet(pictures: Sequence[Picture], keys: Sequence[Key]) -> str:
    """Return pictures side by side as a file of its own, on light or dark paper as its reader is.

    Those that are as wide as the report's panels stand under their headings, the last with keys.
    """
    drawn = [ET.fromstring(str(one.svg)) for one in pictures]  # noqa: S314 - made above
    sizes = [tuple(map(float, one.attrib["viewBox"].split()[2:])) for one in drawn]
    across, head = (_PANEL, _HEAD) if sizes[0][0] < _WIDTH else (_WIDTH, 0.0)
    width = 2 * _EDGE + len(drawn) * (across + _GAP) - _GAP
    height = 2 * _EDGE + head + max(across * high / wide for wide, high in sizes)
    sheet = ET.Element("svg", _attributes(0, 0, width, height))
    sheet.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"0 0 {width:.0f} {height:.0f}",
        "role": "img",
        "aria-label": " ".join(part.text or "" for one in drawn for part in one[:2]),
    }
    style = ET.SubElement(sheet, "style")
    ET.SubElement(sheet, "rect", {"width": "100%", "height": "100%", "fill": "var(--paper)"})
    left = _EDGE
    for one, shown, (wide, high) in zip(drawn, pictures, sizes, strict=True):
        if head:
            sheet.append(_words(left, shown.heading, "head"))
        svg = ET.SubElement(
            sheet, "svg", _attributes(left, _EDGE + head, across, across * high / wide)
        )
        svg.set("viewBox", one.attrib["viewBox"])
        svg.extend(one[2:])  # without a title and a description of its own
        left += across + _GAP
    for place, key in enumerate(reversed(keys), start=1):
        sheet.extend(_entry(width - _EDGE - place * _KEY, key))
    style.text = _style(ET.tostring(sheet, encoding="unicode"))
    return ET.tostring(sheet, encoding="unicode") + "\n"


def _attributes(x: float, y: float, width: float, height: float) -> dict[str, str]:
    numbers = {"x": x, "y": y, "width": width, "height": height}
    return {name: f"{number:.0f}" for name, number in numbers.items()}


def _words(x: float, words: str, kind: str) -> ET.Element:
    element = ET.Element("text", {"x": f"{x:.0f}", "y": f"{_LINE:.0f}", "class": kind})
    element.text = words
    return element


def _entry(x: float, key: Key) -> list[ET.Element]:
    """Return an entry of a picture's key: a mark of its kind, and its words."""
    place, colour = {"x": x, "y": _LINE - 10}, f"var(--{key.colour})"
    if key.kind == "bar":
        mark = ET.Element("rect", _attributes(**place, width=10, height=10) | {"fill": colour})
    else:
        across = key.kind == "line"
        path = f"M{x:.0f} {_LINE - 5:.0f}h14" if across else f"M{x + 7:.0f} {_LINE - 11:.0f}v12"
        mark = ET.Element("path", {"d": path, "stroke": colour, "stroke-width": "1.6"})
        if not across:
            mark.set("stroke-dasharray", "2.4,1.8")
    return [mark, _words(x + 20, key.label, "key")]


def _style(drawn: str) -> str:
    """Return the style sheet of a picture: the colours that it uses, light and dark."""
    light, dark = (
        css_variables(
            {
                name: colour
                for name, colour in palette.items()
                if f"var(--{name})" in drawn or name in {"paper", "ink"}
            }
        )
        for palette in (LIGHT, DARK)
    )
    return (
        f"svg{{{light}color:var(--ink);font-family:{_FONT}}}"
        f".head{{font-size:14px;font-weight:600;fill:var(--ink)}}"
        f".key{{font-size:12px;fill:var(--ink)}}"
        f"@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
    )


@dataclass(frozen=True)
class _Canvas:
    """Axes whose units are those of the page, from its upper left corner."""

    axes: Axes
    palette: Palette

    def text(self, x: float, y: float, words: str, colour: str = "ink", **how: object) -> None:
        """Write words; from the left, unless told otherwise."""
        given: dict[str, object] = {"fontsize": 12, "va": "center_baseline"}
        self.axes.text(x, y, words, color=self.palette[colour], **(given | how))  # type: ignore[arg-type]

    def row(self, x: float, y: float, cells: Sequence[str], colour: str = "ink") -> None:
        """Write three cells of a table: the first from the left, the others up to their ends."""
        self.text(x, y, cells[0], colour)
        for end, cell in zip((_TABLE - 104, _TABLE), cells[1:], strict=True):
            self.text(x + end, y, cell or "–", colour, ha="right")

    def box(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Fill a rectangle."""
        colour = self.palette[fill]
        self.axes.add_patch(Rectangle((x, y), width, height, fc=colour, lw=0))

    def line(self, x: Sequence[float], y: Sequence[float], colour: str, width: float = 1.0) -> None:
        """Draw a line."""
        self.axes.plot(x, y, color=self.palette[colour], lw=width, solid_capstyle="butt")


def _drawn(
    name: str, height: float, title: str, words: str, on: Callable[[_Canvas], None]
) -> Picture:
    def figure(palette: Palette) -> Figure:
        made = Figure(figsize=(_WIDTH / _UNITS, height / _UNITS), dpi=_UNITS)
        axes = made.add_axes((0, 0, 1, 1), xlim=(0, _WIDTH), ylim=(height, 0))
        axes.set_axis_off()
        on(_Canvas(axes, palette))
        return made

    return picture(f"fig-{name}", title, title, words, figure)


# Two tables


def _keys(cells: "pd.Series[str]") -> "pd.Series[str]":
    return cells.str.strip().str.casefold()


def _tables(pair: Pair) -> Picture:
    """Draw some rows of both tables, with those of common customers joined."""
    sides = (
        (pair.guest, pair.guest_name, "guest", 0.0),
        (pair.host, pair.host_name, "host", _WIDTH - _TABLE),
    )
    keys = [_keys(frame[_SHOWN[role][0]]) for frame, _, role, _ in sides]
    common = _in_two_spellings(pair, *keys)[:_COMMON]
    top, high = 58.0, 26.0

    def on(canvas: _Canvas) -> None:
        places: list[dict[str, float]] = []
        for (frame, name, role, left), own, others in zip(sides, keys, keys[::-1], strict=True):
            canvas.text(left, 12, name, role, fontsize=15, weight="bold")
            canvas.line([left, left + _TABLE], [top - 4] * 2, role, 1.6)
            columns = _SHOWN[role]
            canvas.row(left, top - 18, columns, "muted")
            lacking = own[~own.isin(others)].drop_duplicates()[:_OTHERS]
            shown = own[own.isin([*common, *lacking])].drop_duplicates()
            places.append({key: top + high * (nth + 0.5) for nth, key in enumerate(shown)})
            cells = frame.loc[shown.index, list(columns)].astype(str).to_numpy()
            for key, row in zip(shown, cells, strict=True):
                y = places[-1][key]
                if key in common:
                    canvas.box(left - 6, y - high / 2 + 2, _TABLE + 12, high - 4, "notice")
                canvas.row(left, y, row.tolist())
            below = top + high * len(shown) + 18
            more = f"… {len(frame):,} rows, {len(frame.columns) - len(columns)} more columns"
            canvas.text(left, below, more, "muted")
        for key in common:
            across = [_TABLE + 12, _WIDTH - _TABLE - 12]
            canvas.line(across, [place[key] for place in places], "federated", 1.6)

    said = (
        f"{pair.guest_name}: {', '.join(_SHOWN['guest'])}. {pair.host_name}: "
        f"{', '.join(_SHOWN['host'])}. {_COMMON} customers are in both, in two spellings."
    )
    height = top + high * (_COMMON + _OTHERS) + 30
    return _drawn("tables", height, "Two tables", said, on)


def _in_two_spellings(pair: Pair, guest: "pd.Series[str]", host: "pd.Series[str]") -> list[str]:
    """Return the keys of both that the two write otherwise."""
    theirs = dict(zip(host, pair.host[pair.host_id].str.strip(), strict=True))
    own = zip(guest, pair.guest[pair.guest_id].str.strip(), strict=True)
    return [key for key, cell in own if key in theirs and theirs[key] != cell]


# Who is shared


def _shared(results: LinearResults, pair: Pair) -> Picture:
    """Draw how many customers each has, and how many are common, to one scale."""
    counts = [
        _keys(frame[column]).nunique()
        for frame, column in ((pair.guest, pair.guest_id), (pair.host, pair.host_id))
    ]
    common = results.common_rows
    scale = _WIDTH / (sum(counts) - common)
    start, end = (counts[0] - common) * scale, counts[0] * scale
    bars = (
        (0.0, end, "guest", f"{results.guest.name}: {counts[0]:,} customers", "left"),
        (start, _WIDTH, "host", f"{results.host.name}: {counts[1]:,} customers", "right"),
    )

    def on(canvas: _Canvas) -> None:
        for nth, (left, right, colour, words, side) in enumerate(bars):
            y = 24 + 46 * nth
            canvas.box(left, y, right - left, 20, colour)
            x = 0.0 if side == "left" else _WIDTH
            canvas.text(x, y - 12, words, colour, ha=side, weight="bold")
        for x in (start, end):
            canvas.line([x, x], [16, 122], "ink")
        split = start + results.train_rows * scale
        canvas.box(start, 112, split - start, 20, "federated")
        canvas.box(split + 2, 112, end - split - 2, 20, "quiet")
        middle = (start + end) / 2
        canvas.text(middle, 152, f"both: {common:,} customers", ha="center", weight="bold")
        canvas.text(start, 172, f"{results.train_rows:,} train the model", "federated")
        canvas.text(end, 172, f"{results.test_rows:,} test it", "muted", ha="right")

    said = (
        f"{counts[0]:,} and {counts[1]:,} customers, {common:,} of them common: "
        f"{results.train_rows:,} to train and {results.test_rows:,} to test."
    )
    return _drawn("shared", 184, "Who is shared", said, on)


# What each side saw

_Cell = tuple[str, str]  # how much: own, some or none; and in words


def _seen(results: LinearResults) -> Picture:
    """Draw what each side learned of what there is: all, some, or nothing."""
    guest, host = results.guest, results.host
    own, none, many = ("own", "its own"), ("none", "nothing"), ("some", "how many")
    which = ("some", f"which of its own: {results.common_rows:,}")
    rows: tuple[tuple[str, _Cell, _Cell], ...] = (
        (f"{guest.name}’s columns, and {results.label}", own, none),
        (f"{host.name}’s columns", none, own),
        ("customers of both", which, which),
        ("customers of the other alone", many, many),
        ("the other’s columns after encoding", ("some", f"how many: {host.columns}"),
         ("some", f"how many: {guest.columns}")),
        (f"scores and errors in {results.iterations} steps of training", none, none),
        (f"what {guest.name}’s columns count in the model", ("some", "its own, rounded"), none),
        (f"what {host.name}’s columns count in the model", none, ("some", "its own, rounded")),
        (f"scores of {results.test_rows:,} customers that test it", ("some", "all, rounded"),
         ("some", "whose, and no score")),
    )  # fmt: skip
    top, high, places = 34.0, 27.0, (374.0, 574.0)

    def on(canvas: _Canvas) -> None:
        for x, name, colour in zip(places, (guest.name, host.name), ("guest", "host"), strict=True):
            canvas.text(x, 12, f"{name} saw", colour, fontsize=15, weight="bold")
        for nth, (what, one, two) in enumerate(rows):
            y = top + high * (nth + 0.5)
            canvas.line([0, _WIDTH], [y - high / 2] * 2, "rule")
            canvas.text(0, y, what)
            for x, colour, (kind, words) in zip(places, ("guest", "host"), (one, two), strict=True):
                edge = canvas.palette["quiet" if kind == "none" else colour]
                fill = edge if kind == "own" else canvas.palette["paper"]
                mark = "_" if kind == "none" else "o"
                canvas.axes.plot(
                    [x + 6], [y], mark, ms=9 if mark == "o" else 7, mfc=fill, mec=edge, mew=1.8
                )
                canvas.text(x + 22, y, words, "muted" if kind == "none" else "ink")

    said = " ".join(
        f"{what}: {guest.name} {one[1]}, {host.name} {two[1]}." for what, one, two in rows
    )
    return _drawn("seen", top + high * len(rows) + 4, "What each side saw", said, on)
