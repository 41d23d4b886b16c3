"""The server: says who trains when, adds what it cannot read, and keeps the last checkpoint."""

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from privfed.integrations.flower import EncryptedStrategy

from .task import network

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds."""
    strategy = EncryptedStrategy(FedAvg())
    strategy.start(
        grid,
        ArrayRecord(network().state_dict()),
        num_rounds=int(context.run_config["num-server-rounds"]),
    )
