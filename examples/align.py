"""A manufacturer and a shop find the dresses that both sell, and nothing else of each other.

Run: python examples/align.py
"""

import pandas as pd

import psi

maker = pd.DataFrame({"Dress_ID": ["1006", "1212", "1190", "966"], "fabric": [*"abcd"]})
shop = pd.DataFrame({"Dress_ID": ["1190", "4711", "1006"], "sold": [31, 8, 4048]})

found = psi.align(maker, shop, on="Dress_ID")
together = pd.concat(
    [
        maker.iloc[found.left_rows].reset_index(drop=True),
        shop.iloc[found.right_rows].drop(columns="Dress_ID").reset_index(drop=True),
    ],
    axis=1,
)
print(together.to_string(index=False))
print(f"by {found.protocol}, {found.bytes_exchanged} bytes exchanged")
assert set(together["Dress_ID"]) == {"1006", "1190"}
