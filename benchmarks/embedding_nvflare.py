"""NVFlare's simulator for `benchmarks.embedding`: its FedAvg recipe on numpy arrays.

Run in its environment: python -m benchmarks.embedding_nvflare TASK, with a task as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
from nvflare.app_common.np.recipes import NumpyFedAvgRecipe
from nvflare.recipe import SimEnv

from benchmarks.embedding_nvflare_filter import Counter
from benchmarks.embedding_work import check, start


def main() -> None:
    """Simulate."""
    task = json.loads(sys.argv[1])
    folder, clients = Path(task["folder"]), task["clients"]
    np.save(folder / "start.npy", start(task["params"]))
    recipe = NumpyFedAvgRecipe(
        name="embedding",
        initial_ckpt=str(folder / "start.npy"),
        min_clients=clients,
        num_rounds=task["rounds"],
        train_script=str(Path(__file__).with_name("embedding_nvflare_client.py")),
        train_args=f"{clients} {folder / 'costs.json'}",
    )
    recipe.add_client_input_filter(Counter("down"), tasks=["train"])
    recipe.add_client_output_filter(Counter("up"), tasks=["train"])
    workspace = folder / "embedding" / "local"
    workspace.mkdir(parents=True)
    (workspace / "resources.json").write_text(
        json.dumps({"format_version": 2, "class_allow_list": ["*"]})
    )
    recipe.execute(SimEnv(num_clients=clients, workspace_root=str(folder)))
    (saved,) = (folder / "embedding").glob("server/**/models/server.npy")
    check(np.load(saved), task["rounds"], clients)


if __name__ == "__main__":
    main()
