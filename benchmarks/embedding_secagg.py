"""Flower's SecAgg+, which 1.42 has for its older API alone: a workflow, a mod and a NumPyClient.

Three shares, of which two restore a key: the least that it allows.
"""

from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.client import Client, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import Grid, ServerApp

from benchmarks.embedding_flower import METER, count
from benchmarks.embedding_work import EXAMPLES, check, start, step

MODEL = "parameters"  # under which the workflow keeps it


class Adding(NumPyClient):
    """A client's part of a round."""

    def __init__(self, place: int, clients: int) -> None:
        self._place, self._clients = place, clients

    def fit(self, parameters: Any, config: Any) -> Any:
        """Add this client's constant."""
        (model,) = parameters
        after = step(model, int(config["rounds"]), self._place, self._clients)
        return [after], EXAMPLES, {}


def make(context: Context) -> Client:
    """Return the client."""
    place, clients = context.node_config["partition-id"], context.run_config["clients"]
    return Adding(int(place), int(clients)).to_client()


class Noted(FedAvg):
    """Averaging that notes when a round begins."""

    def configure_fit(self, *given: Any, **named: Any) -> Any:
        """Note it, and go on."""
        METER.note()
        return super().configure_fit(*given, **named)


client = ClientApp(make, mods=[secaggplus_mod])
server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Average under masks, and look at what came out."""
    config = context.run_config
    clients, rounds = int(config["clients"]), int(config["rounds"])
    strategy = Noted(
        fraction_evaluate=0.0,
        min_fit_clients=clients,
        min_available_clients=clients,
        on_fit_config_fn=lambda current: {"rounds": current - 1},
        initial_parameters=ndarrays_to_parameters([start(int(config["params"]))]),
    )
    old = LegacyContext(context, ServerConfig(num_rounds=rounds), strategy)
    count(grid)
    masked = SecAggPlusWorkflow(num_shares=3, reconstruction_threshold=2)
    DefaultWorkflow(fit_workflow=masked)(grid, old)
    METER.write(Path(str(config["costs"])))
    (model,) = old.state.array_records[MODEL].to_numpy_ndarrays()
    check(model, rounds, clients)
