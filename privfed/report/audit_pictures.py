"""The pictures of an audit's page."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from privfed.audit import AuditResults
from privfed.audit.onlookers import Attack
from privfed.audit.results import SOUND
from privfed.report.charts import Bar, Group, Palette, _bare, bar_chart, panel
from privfed.report.pictures import Key, Picture, groups_in_words, picture
from privfed.report.words import decimal
from privfed.rounding import at_least

_TICKS = (0.001, 0.01, 0.1, 1.0)
_COLOURS = ("host", "private-2", "private-4", "extra-1")
_DASHES = ((), (5, 2), (2, 1.5), (1, 1))

ONLOOKER_KEY = (
    Key("recovered with every attribute", "host"),
    Key("picked out of all rows", "extra-2", "hollow"),
)
BOUND_KEY = (
    Key("lower bound on ε at 95 %", "accent"),
    Key("the claim for an outsider", "ink", "mark"),
)


def onlooker_bars(results: AuditResults) -> Picture:
    """Draw how many lone rows each onlooker recovered, and how many it picked out of a table."""
    groups = []
    for attack in _lone(results):
        shares = [(attack.recovered, "host", False), (attack.identified or 0, "extra-2", True)]
        bars = tuple(
            Bar(
                ((count / attack.rows, colour),),
                f"{count} of {attack.rows}",
                hollow=hollow,
            )
            for count, colour, hollow in shares
        )
        groups.append(Group(_short(attack.onlooker), bars))
    heading = "What each onlooker got of lone rows"
    return picture(
        "fig-onlookers",
        heading,
        heading,
        groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, 1.0, percent=True, text_share=0.2),
    )


def bound_bars(results: AuditResults) -> Picture:
    """Draw the one-run lower bound of the product itself and of each planted fault."""
    groups = []
    for planted, bound in results.bounds.items():
        bar = Bar(((bound.epsilon, "accent"),), at_least(bound.epsilon))
        groups.append(Group(fault_name(planted), (bar,), bound.claimed_epsilon))
    limit = results.bounds[SOUND].ceiling
    heading = "Lower bound on ε from one run"
    return picture(
        "fig-bounds",
        heading,
        heading,
        groups_in_words(groups),
        lambda palette: bar_chart(groups, palette, limit, percent=False, text_share=0.14),
    )


def roc_key(results: AuditResults) -> list[Key]:
    """Return one entry of the key for each curve."""
    entries = [
        Key(each.trained, colour, "line", " ".join(map(str, dash)))
        for each, colour, dash in zip(results.membership, _COLOURS, _DASHES, strict=False)
    ]
    return [*entries, Key("guessing", "quiet", "line", "1 2")]


def roc_curves(results: AuditResults) -> Picture:
    """Draw true against false positives of LiRA, both on logarithmic axes."""
    said = " ".join(f"{each.trained}: area {decimal(each.auc)}." for each in results.membership)
    heading = "Members found against others accused"
    return picture("fig-roc", heading, heading, said, lambda palette: _roc(results, palette))


def _lone(results: AuditResults) -> list[Attack]:
    main = results.attacks[0].encoding
    return [a for a in results.attacks if a.batch_size == 1 and a.encoding == main]


def _short(onlooker: str) -> str:
    short = onlooker.replace(" (no ε to speak of)", "").removeprefix("a ")
    return short[0].upper() + short[1:]


def fault_name(name: str) -> str:
    """Name what was planted, in a reader's words."""
    return "the real thing" if name == SOUND else name


def _roc(results: AuditResults, palette: Palette) -> Figure:
    figure, axes = panel(290, left=44, bottom=36, right=8, top=10)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.plot((1e-3, 1), (1e-3, 1), color=palette["quiet"], lw=1.2, ls=(0, (1, 2)))
    for each, colour, dash in zip(results.membership, _COLOURS, _DASHES, strict=False):
        false, true = zip(*((f, max(t, 1e-4)) for f, t in each.roc if f > 0), strict=True)
        axes.plot(false, true, color=palette[colour], lw=1.8, ls=(0, dash) if dash else "solid")
    _bare(axes)
    axes.set_xlim(1e-3, 1)
    axes.set_ylim(5e-4, 1.05)
    axes.grid(color=palette["rule"], lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=palette["muted"], labelsize=10, pad=5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(_TICKS))
        axis.set_major_formatter(FixedFormatter(["0.1%", "1%", "10%", "100%"]))
        axis.set_minor_locator(NullLocator())
    axes.set_xlabel("others accused", color=palette["muted"], fontsize=10, labelpad=4)
    return figure
