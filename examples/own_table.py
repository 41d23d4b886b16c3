"""A table as spreadsheets write it: what is understood, what is asked, what is learnt from.

Run: python examples/own_table.py
"""

import tempfile
from pathlib import Path

import pandas as pd

from privfed.data import inspect_table, load_dataset, schema_text

table = pd.DataFrame(
    {
        "income": ["3.174,37 €", "2.790,42 €", "890,00 €", "1.050,00 €"] * 20,
        "since": ["17.03.2023", "01.09.2024", "20.08.2023", ""] * 20,
        "member": ["yes", "no", "no", "yes"] * 20,
        "paid": ["1,050", "2,300", "950", "1,200"] * 20,
        "late": ["no", "yes", "yes", "no"] * 20,
    }
)

readings = inspect_table(table, label="late").columns
for reading in readings:
    print(f"{reading.name}: {reading.question or f'{reading.kind} {reading.done}'}")
assert [reading.name for reading in readings if reading.question] == ["paid"]

with tempfile.TemporaryDirectory() as folder:
    schema = Path(folder, "schema.toml")
    head, choices = schema_text(readings, "orders").split("# To choose, take", 1)
    thousands, rest = choices.split("# or\n", 1)  # of both choices the first: 1,050 is 1050
    chosen = "\n".join(line.removeprefix("#") for line in thousands.splitlines()[1:])
    schema.write_text(head + chosen + "\n" + rest[rest.index("[columns.late]") :], "utf-8")
    data = load_dataset("table", table, schema=schema)

print(f"{len(data)} rows of {data.encoder.num_features} features, classes {data.class_names}")
assert data.encoder.feature_names == (
    *("income", "income=missing", "since", "since=missing"),
    *("member", "member=missing", "paid", "paid=missing"),
)
