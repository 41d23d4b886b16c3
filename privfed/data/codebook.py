"""The code table of the dress data, in the manner of the paper's Figure 5.

The spellings are those in UCI's Dresses_Attribute_Sales, with its typing errors, beside the right
ones; case, spaces, `_` and `-` never count. docs/data.md shows the whole table and says why each
doubtful spelling has its code.
"""

from __future__ import annotations

from privfed.data.schema import MISSING_CODE, CategoricalColumn, NumericColumn, Schema, fold

CLASS_NAMES = ("do not recommend", "recommend")  # Recommendation 0 and 1


def _text(
    name: str, categories: str, also: dict[str, str] | None = None, *, ordinal: bool = False
) -> CategoricalColumn:
    """Build a column from words: its categories in code order, and what else they are called."""
    order = categories.split()
    codes = {category: code for code, category in enumerate(order, start=1)}
    codes |= {"missing": MISSING_CODE, "other": len(order) + 1}
    spellings = {
        fold(spelling): codes[category]
        for category, further in (also or {}).items()
        for spelling in further.split()
    }
    return CategoricalColumn(name, tuple(order), spellings, ordinal)


DRESSES = Schema(
    columns=(
        _text(
            "Style",
            "bohemian brief casual cute fashion flare novelty OL party sexy vintage work",
            {"bohemian": "bohemia"},
        ),
        # The file uses both Average and Medium, UCI's description lists them in this order.
        _text("Price", "low average medium high very-high", ordinal=True),
        NumericColumn("Rating", 0.0, 5.0, missing_as=0.0, raw_codes=True),
        _text("Size", "S M L XL free", {"S": "small", "M": "medium", "L": "large"}, ordinal=True),
        _text("Season", "autumn spring summer winter", {"autumn": "automn"}),
        _text(
            "Neckline",
            "backless boat-neck bow-neck halter mandarin-collar o-neck open peterpan-collar "
            "ruffled scoop slash-neck square-collar sweetheart turndown-collar v-neck",
            {
                "mandarin-collar": "mandarin-collor",
                "peterpan-collar": "peterpan-collor",
                "square-collar": "sqare-collor",
                "turndown-collar": "turndowncollor",
            },
        ),
        _text(
            "SleeveLength",
            "butterfly cap-sleeves full half petal short sleeveless three-quarter",
            {
                "half": "halfsleeve",
                "sleeveless": "sleevless sleeevless sleveless",
                "three-quarter": "threequater thressqatar",
                # A collar in the sleeves' column belongs elsewhere: the sleeve is not known.
                "missing": "turndowncollor urndowncollor",
            },
        ),
        _text("Waistline", "dropped empire natural princess"),
        _text(
            "Material",
            "acrylic cashmere chiffon cotton knitting lace linen lycra microfiber milksilk mix "
            "modal nylon polyester rayon silk spandex viscose wool",
            {
                "chiffon": "chiffonfabric shiffon",
                "modal": "model",
                "polyester": "polyster",
                "silk": "sill",
                "viscose": "viscos",
            },
        ),
        _text(
            "FabricType",
            "batik broadcloth chiffon corduroy dobby flannel jersey knitted lace organza poplin "
            "satin terry tulle woolen worsted",
            {
                "chiffon": "shiffon",
                "flannel": "flannael",
                "knitted": "knitting",
                "satin": "sattin",
                "woolen": "wollen",
            },
        ),
        # "none" says that there is no decoration, unlike "null", which says nothing.
        _text(
            "Decoration",
            "applique beading bow button cascading crystal draped embroidery feathers flowers "
            "hollowout lace none pearls plain pleat pockets rivet ruched ruffles sashes sequined "
            "tassel tiered",
            {"embroidery": "embroidary"},
        ),
        _text(
            "PatternType",
            "animal character dot floral geometric leopard none patchwork plaid print solid "
            "splice striped",
            {"leopard": "leapord"},
        ),
    ),
    id_column="Dress_ID",
    label_column="Recommendation",
    folded=True,
    aliases={"waiseline": "Waistline"},
)
