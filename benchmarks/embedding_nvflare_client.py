"""A client in NVFlare's simulator: adds its constant, round by round; the first one notes costs."""

import sys
from pathlib import Path

import nvflare.client as flare
from nvflare.app_common.np.constants import NPConstants

from benchmarks.embedding_nvflare_filter import METER
from benchmarks.embedding_work import EXAMPLES, step


def main() -> None:
    """Work until the server has no more."""
    clients, costs = int(sys.argv[1]), Path(sys.argv[2])
    flare.init()
    place = int(flare.get_site_name().removeprefix("site-")) - 1
    while flare.is_running():
        received = flare.receive()
        if received is None:
            break
        model = received.params[NPConstants.NUMPY_KEY]
        after = step(model, received.current_round, place, clients)
        meta = {"NUM_STEPS_CURRENT_ROUND": EXAMPLES}
        flare.send(flare.FLModel(params={NPConstants.NUMPY_KEY: after}, meta=meta))
    if place == 0:
        METER.write(costs)


if __name__ == "__main__":
    main()
