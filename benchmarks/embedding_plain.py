"""Plain averaging by Flower's Message API, as its quickstart has it: the server sees all models."""

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from benchmarks.embedding_flower import run, train
from benchmarks.embedding_work import check

client = ClientApp()
server = ServerApp()
client.train()(train)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Average, and look at what came out."""
    (model,) = run(grid, context).arrays.to_numpy_ndarrays()
    check(model, int(context.run_config["rounds"]), int(context.run_config["clients"]))
