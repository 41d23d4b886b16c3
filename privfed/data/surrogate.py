"""Invented data in place of the dress data, so that the benchmark runs before a file is fetched.

No row of the real files is here. Only aggregates were taken from them: how often each spelling of
each attribute occurs, and how sales roughly grow. They come from Dresses_Attribute_Sales by
Muhammad Usman and Adeel Ahmed, UCI Machine Learning Repository,
https://archive.ics.uci.edu/dataset/289, CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/);
rows were counted and nothing else changed. Attributes are drawn independently, so only these
frequencies are realistic. The numbers that tie labels and sales to attributes are invented.

Every draw is `random.Random.random`, the one method whose sequence Python promises to keep for a
seed, so the tables are the same with every version of Python and numpy.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable
from datetime import date, timedelta
from random import Random
from statistics import NormalDist

import pandas as pd

_SEED = 289
_ROWS, _REPEATS, _RECOMMENDED = 500, 25, 210
_FIRST_ID = 2_000_000_000  # larger than every ID of the real file

# Column as UCI writes it: each spelling and its rows in the real file; "-" is an empty cell.
_FREQUENCIES = {
    "Style": "Casual 232 Sexy 69 party 51 cute 45 vintage 25 bohemian 24 Brief 18 work 17 "
    "Novelty 8 sexy 7 Flare 2 OL 1 fashion 1",
    "Price": "Average 252 Low 129 low 45 Medium 30 very-high 21 high 15 High 6 - 2",
    "Rating": "0 120 4.7 84 4.8 57 5 55 4.6 54 4.5 34 4.4 27 4.9 25 4.3 20 4 7 4.2 6 4.1 5 3.7 2 "
    "3.6 1 3.5 1 3 1 1 1",
    "Size": "M 177 free 173 L 96 S 37 XL 15 s 1 small 1",
    "Season": "Summer 159 Spring 122 Winter 99 Automn 61 winter 46 Autumn 8 spring 2 summer 1 - 2",
    "NeckLine": "o-neck 271 v-neck 124 slash-neck 25 boat-neck 19 Sweetheart 14 turndowncollor 13 "
    "bowneck 10 peterpan-collor 6 sqare-collor 5 open 3 NULL 2 Scoop 2 backless 1 halter 1 "
    "mandarin-collor 1 ruffled 1 sweetheart 1 - 1",
    "SleeveLength": "sleevless 223 full 97 short 96 halfsleeve 35 threequarter 17 thressqatar 10 "
    "sleeveless 5 capsleeves 3 sleeevless 3 NULL 2 cap-sleeves 2 Petal 1 butterfly 1 half 1 "
    "sleveless 1 threequater 1 turndowncollor 1 urndowncollor 1",
    "waiseline": "natural 304 empire 104 null 86 dropped 4 princess 1 - 1",
    "Material": "cotton 152 null 127 polyster 99 silk 26 chiffonfabric 25 mix 12 nylon 10 rayon 10 "
    "milksilk 5 spandex 5 cashmere 4 acrylic 3 linen 3 lycra 3 microfiber 3 other 2 shiffon 2 "
    "viscos 2 knitting 1 lace 1 modal 1 model 1 sill 1 wool 1 - 1",
    "FabricType": "null 265 chiffon 135 broadcloth 31 worsted 19 jersey 12 shiffon 9 sattin 6 "
    "Corduroy 2 batik 2 dobby 2 poplin 2 tulle 2 wollen 2 flannael 1 flannel 1 knitted 1 "
    "knitting 1 lace 1 organza 1 other 1 satin 1 terry 1 woolen 1 - 1",
    "Decoration": "null 235 lace 70 sashes 42 beading 22 applique 21 hollowout 21 ruffles 17 "
    "bow 15 sequined 14 button 6 embroidary 5 pockets 5 flowers 4 crystal 3 rivet 3 ruched 3 "
    "draped 2 feathers 2 none 2 plain 2 Tiered 1 cascading 1 pearls 1 pleat 1 tassel 1 - 1",
    "Pattern Type": "solid 203 null 108 print 71 patchwork 48 animal 21 striped 17 dot 14 "
    "geometric 5 leopard 3 plaid 3 floral 2 character 1 leapord 1 none 1 splice 1 - 1",
}

# Invented: what makes "recommend" likelier, beside noise of standard deviation 1.8.
_PULL = {"Spring": 0.8, "spring": 0.8, "very-high": 0.8, "party": 0.8, "bohemian": 0.5, "work": -1}

_DAYS = [date(2013, 8, 29) + timedelta(days=2 * i) for i in range(23)]
_WRONG_YEAR = {20: 2010}  # of one date, as in the real file
_DATES = [f"{d.day}/{d.month}/{_WRONG_YEAR.get(i, d.year)}" for i, d in enumerate(_DAYS)]
_OFTEN_EMPTY = (14, 16, 17, 18, 20, 21)  # dates that about half of the dresses lack
_WORDS = {7: "Removed", 8: "removed", 9: "removed", 12: "Orders"}  # in one dress each
_EMPTY_COLUMNS = 12

_Draw = Callable[[], float]


def surrogate_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the two raw tables, with the real files' columns and kinds of errors.

    Returns:
        Attributes, (500, 14) text: Dress_ID, twelve attributes, Recommendation (290 times 0, 210
        times 1); 475 distinct IDs, of which 25 are in two rows that differ in a few attributes.
        Sales, (500, 36) text: the same dresses in the same order, cumulative sales on 23 dates,
        twelve empty columns.
    """
    draw = Random(_SEED).random  # noqa: S311 - invented data; protects nobody
    dresses = _dresses(draw)
    labels = _labels(dresses, draw)
    attributes = pd.DataFrame(dresses, dtype=str).assign(Recommendation=labels)
    sales = [[dress["Dress_ID"], *_sales(dress, draw)] for dress in dresses]
    for column, word in _WORDS.items():
        sales[int(draw() * _ROWS)][1 + column] = word
    unnamed = ["" for _ in range(_EMPTY_COLUMNS)]
    frame = pd.DataFrame([row + unnamed for row in sales], dtype=str)
    return attributes, frame.set_axis(["Dress_ID", *_DATES, *unnamed], axis=1)


def _dresses(draw: _Draw) -> list[dict[str, str]]:
    """Draw the attributes; the last dresses repeat earlier ones with a few differences."""
    tables = {}
    for column, text in _FREQUENCIES.items():
        words = text.split()
        spellings = ["" if word == "-" else word for word in words[::2]]
        tables[column] = spellings, list(itertools.accumulate(map(int, words[1::2])))

    def value(column: str) -> str:
        spellings, cumulative = tables[column]
        return spellings[bisect.bisect(cumulative, draw() * cumulative[-1])]

    distinct = _ROWS - _REPEATS
    gap = 1_000_000_000 // distinct
    dresses = [
        {"Dress_ID": str(_FIRST_ID + i * gap + int(draw() * gap))}
        | {column: value(column) for column in tables}
        for i in range(distinct)
    ]
    for i in sorted(range(distinct), key=lambda _: draw())[:_REPEATS]:
        retyped = sorted(tables, key=lambda _: draw())[:3]
        dresses.append(dresses[i] | {column: value(column) for column in retyped})
    return sorted(dresses, key=lambda _: draw())


def _labels(dresses: list[dict[str, str]], draw: _Draw) -> list[str]:
    """Recommend the dresses with the highest scores, which are nearly all noise."""

    def score(dress: dict[str, str]) -> float:
        noise = draw()
        return sum(_PULL.get(cell, 0.0) for cell in dress.values()) + math.log(noise / (1 - noise))

    scores = [score(dress) for dress in dresses]
    least = sorted(scores)[-_RECOMMENDED]
    return [str(int(value >= least)) for value in scores]


def _sales(dress: dict[str, str], draw: _Draw) -> list[str]:
    """Return one dress's cumulative sales; half of the dresses start on the fourth date.

    The sizes are the real table's, rounded: half sell at most about 220 pieces, one in ten more
    than 1000. Dresses sell less that start late, or have no rating or no material.
    """
    late = draw() < 0.5
    size = 6.3 - 0.9 * late - 1.8 * (dress["Rating"] == "0") - 1.2 * (dress["Material"] == "null")
    total = math.expm1(min(max(size + NormalDist().inv_cdf(draw()), 0.0), 9.0))
    start = 3 if late else 0
    share = 0.1 + 0.7 * draw()
    gappy = draw() < 0.55
    cells = []
    for day in range(len(_DATES)):
        progress = max(day - start, 0) / (len(_DATES) - 1 - start)
        sold = round(total * (share + (1 - share) * progress)) if day >= start else 0
        returned = int(20 * draw()) if draw() < 0.05 else 0
        cells.append("" if gappy and day in _OFTEN_EMPTY else str(max(sold - returned, 0)))
    return cells
