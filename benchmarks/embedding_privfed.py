"""`embedding_plain` with privfed in it: the mod, and the strategy around its strategy."""

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from benchmarks.embedding_flower import run, train
from privfed.integrations.flower import EncryptedMod, EncryptedStrategy

client = ClientApp(mods=[EncryptedMod()])
server = ServerApp()
client.train()(train)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Average what the server cannot read; clients look at what came out."""
    run(grid, context, EncryptedStrategy)
