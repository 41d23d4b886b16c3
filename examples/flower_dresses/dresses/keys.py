"""The keys of both parties, for a simulation: `python -m dresses.keys FOLDER`.

Companies make their own, each on its machine, with such settings: docs/flower.md.
"""

import math
import sys
from pathlib import Path

from privfed.integrations import simulated_keys
from privfed.training import adam_reach, get_arrays
from privfed.training.local import BATCH_SIZE

from .task import load_rows, network


def make_keys(folder: Path) -> None:
    """Make them, with the settings of the benchmark's arm `federated-he`."""
    most = max(len(load_rows(place)[0][1]) for place in range(2))
    simulated_keys(
        folder,
        get_arrays(network()),
        parties=2,
        clip_range=adam_reach(math.ceil(most / BATCH_SIZE)),
        max_weight=2 ** math.ceil(math.log2(most + 1)),
    )


if __name__ == "__main__":
    make_keys(Path(sys.argv[1]))
