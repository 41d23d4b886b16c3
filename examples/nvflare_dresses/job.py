"""Two dress companies train one model in NVFlare's simulator, on a server that never has it.

Run: python examples/nvflare_dresses/job.py [model.npz]
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe.sim_env import SimEnv

from privfed.integrations import simulated_keys, trained_model
from privfed.integrations.nvflare import (
    CheckpointPersistor,
    DecryptModel,
    EncryptedAggregator,
    EncryptModel,
)
from privfed.training import Arrays, get_arrays, initial_model, paper_network

CLIENT = Path(__file__).with_name("client.py")
SITES = ("site-1", "site-2")


def main(folder: Path, rounds: int = 3) -> Arrays:
    """Return the model that both companies have in the end."""
    start = get_arrays(initial_model(lambda: paper_network(12, 2), seed=0))
    np.savez(folder / "start.npz", allow_pickle=False, **start)
    simulated_keys(folder / "keys", start, parties=SITES, clip_range=1.0, max_weight=512)
    os.environ["PRIVFED_KEYS"] = str(folder / "keys")

    recipe = FedAvgRecipe(
        name="dresses",
        min_clients=2,
        num_rounds=rounds,
        train_script=str(CLIENT),
        model_persistor=CheckpointPersistor(str(folder / "start.npz")),
        aggregator=EncryptedAggregator(),
    )
    recipe.add_client_input_filter(DecryptModel())
    recipe.add_client_output_filter(EncryptModel())
    recipe.execute(SimEnv(num_clients=2, workspace_root=str(folder)))

    first, second = (trained_model(folder / "keys" / site) for site in SITES)
    assert all(np.array_equal(first[name], second[name]) for name in start)
    return first


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        model = main(Path(place))
    for written in sys.argv[1:]:
        np.savez(written, allow_pickle=False, **model)
    print(f"both companies have the same {sum(each.size for each in model.values())} weights")
