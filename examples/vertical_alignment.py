"""Two companies line up their rows, train one model on both, and learn what it was worth.

A bank knows who paid late; a shop knows what the same people buy. Both are played here, as two
processes; docs/vertical.md says what each of them sees.

Run: python examples/vertical_alignment.py
"""

import tempfile
from pathlib import Path

from privfed.cli.vertical_both import BothTables, play_both
from privfed.data import load_pair
from privfed.vertical.linear.results import LinearResults
from privfed.vertical.linear.terms import LinearChoice

if __name__ == "__main__":
    pair = load_pair("bank-and-shop", customers=4000)
    print(f"the bank has {list(pair.guest.columns)}")
    print(f"the shop has {list(pair.host.columns)}")
    with tempfile.TemporaryDirectory() as folder:
        play_both(BothTables.of_pair(pair), LinearChoice(penalty=0.01), Path(folder))
        results = LinearResults.load(Path(folder, "results.json"))
    print(f"{results.common_rows} rows are common; {results.test_rows} of them were held out")
    for one in results.measures:
        print(f"{one.name}: {one.alone:.3f} alone, {one.together:.3f} together")
    assert results.gains[0].low > 0
