"""docs/results.md names every field of the schema, each in its own table, and nothing else."""

from __future__ import annotations

import re

import msgspec
import pytest

from privfed.experiment import results
from privfed.experiment.arms import Arm
from privfed.partner import results as training
from privfed.records import PrivacyCost
from tests.places import DOCS

DOCUMENT = DOCS / "results.md"
CLASSES = (
    results.Results,
    Arm,
    results.Overlap,
    results.Run,
    results.NumberFigures,
    PrivacyCost,
    results.Summary,
    results.NumberSummary,
    results.PartiesRecord,
    results.HeldRows,
    results.Comparison,
    training.TrainingResults,
    training.RoundRecord,
    training.OwnFile,
    training.OverlapCounts,
)


@pytest.mark.parametrize("schema", CLASSES, ids=lambda schema: schema.__name__)
def test_every_field_is_documented_in_order_of_the_schema(schema: type[msgspec.Struct]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.split(f"\n## {schema.__name__}\n")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(documented) == sorted(schema.__struct_fields__)


def test_the_documented_version_is_the_one_that_is_written() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert f"| `schema_version` | int | {results.SCHEMA_VERSION} |" in text
    assert f'| `format` | string | "{training.FORMAT}" |' in text
