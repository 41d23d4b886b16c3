"""NVFlare's simulator for `benchmarks.embedding`: its FedAvg recipe on numpy arrays.

Run in its environment: python -m benchmarks.embedding_nvflare TASK, with a task as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from nvflare.apis.filter import Filter
from nvflare.app_common.np.constants import NPConstants
from nvflare.client.config import TransferType
from nvflare.job_config.script_runner import FrameworkType
from nvflare.recipe import SimEnv
from nvflare.recipe.fedavg import FedAvgRecipe

from benchmarks.embedding_nvflare_filter import Counter
from benchmarks.embedding_work import check, start
from privfed.integrations import trained_model
from privfed.integrations.nvflare import (
    CheckpointPersistor,
    DecryptModel,
    EncryptedAggregator,
    EncryptModel,
)


def main() -> None:
    """Simulate."""
    task = json.loads(sys.argv[1])
    folder, clients = Path(task["folder"]), task["clients"]
    encrypted = task["method"] == "privfed"
    recipe = FedAvgRecipe(
        name="embedding",
        min_clients=clients,
        num_rounds=task["rounds"],
        train_script=str(Path(__file__).with_name("embedding_nvflare_client.py")),
        train_args=f"{clients} {folder / 'costs.json'}",
        framework=FrameworkType.NUMPY,
        params_transfer_type=TransferType.FULL,
        **begun(folder, start(task["params"]), encrypted),
    )
    ours: list[Filter] = [DecryptModel(), EncryptModel()] if encrypted else []
    recipe.add_client_input_filter(Counter("down"), tasks=["train"])
    for each in ours[:1]:
        recipe.add_client_input_filter(each)
    for each in ours[1:]:
        recipe.add_client_output_filter(each)
    recipe.add_client_output_filter(Counter("up"), tasks=["train"])
    workspace = folder / "embedding" / "local"
    workspace.mkdir(parents=True)
    (workspace / "resources.json").write_text(
        json.dumps({"format_version": 2, "class_allow_list": ["*"]})
    )
    recipe.execute(SimEnv(num_clients=clients, workspace_root=str(folder)))
    if encrypted:
        found = trained_model(folder / "keys" / "site-1")[NPConstants.NUMPY_KEY]
    else:
        (saved,) = (folder / "embedding").glob("server/**/models/server.npy")
        found = np.load(saved)
    check(found, task["rounds"], clients)


def begun(folder: Path, model: np.ndarray, encrypted: bool) -> dict[str, Any]:
    """Return what a recipe has of the initial model, and of who adds."""
    if not encrypted:
        np.save(folder / "start.npy", model)
        return {"initial_ckpt": str(folder / "start.npy")}
    np.savez(folder / "start.npz", allow_pickle=False, **{NPConstants.NUMPY_KEY: model})
    persistor = CheckpointPersistor(str(folder / "start.npz"))
    return {"model_persistor": persistor, "aggregator": EncryptedAggregator()}


if __name__ == "__main__":
    main()
