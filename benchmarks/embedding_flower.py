"""What Flower's apps of `benchmarks.embedding` share: the client's work, and counting at the grid.

Bytes are those of the records in messages, as the ServerApp gives them to its grid and gets them:
arrays as they are serialised, and the bytes, texts and numbers of settings and metrics.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from benchmarks.embedding_work import EXAMPLES, Meter, start, step

__all__ = ["METER", "count", "run", "size_bytes", "train"]

METER = Meter()


def train(message: Message, context: Context) -> Message:
    """Do a client's part of a round."""
    record = message.content["arrays"]
    config = message.content["config"]
    assert isinstance(record, ArrayRecord)
    (model,) = record.to_numpy_ndarrays()
    place, clients = context.node_config["partition-id"], context.run_config["clients"]
    after = step(model, int(str(config["server-round"])) - 1, int(place), int(clients))
    metrics = MetricRecord({"num-examples": EXAMPLES})
    content = RecordDict({"arrays": ArrayRecord([after]), "metrics": metrics})
    return Message(content, reply_to=message)


class Noted(FedAvg):
    """Plain averaging over all clients without evaluation; notes when a round begins."""

    def __init__(self, clients: int) -> None:
        super().__init__(
            fraction_evaluate=0.0,
            min_train_nodes=clients,
            min_evaluate_nodes=0,
            min_available_nodes=clients,
        )

    def configure_train(self, *given: Any) -> Iterable[Message]:
        """Note it, and go on."""
        METER.note()
        return super().configure_train(*given)


def run(grid: Grid, context: Context, wrap: Callable[[FedAvg], Any] = lambda plain: plain) -> Any:
    """Run plain averaging, or what wraps it; return the strategy's result."""
    count(grid)
    strategy = wrap(Noted(int(context.run_config["clients"])))
    initial = ArrayRecord([start(int(context.run_config["params"]))])
    result = strategy.start(grid, initial, num_rounds=int(context.run_config["rounds"]))
    METER.write(Path(str(context.run_config["costs"])))
    return result


def count(grid: Grid) -> None:
    """Let the meter see what goes through a grid."""
    push, pull = grid.push_messages, grid.pull_messages

    def pushed(messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        METER.down += sum(size_bytes(each.content) for each in messages)
        return push(messages)

    def pulled(*given: Any, **named: Any) -> Iterable[Message]:
        messages = list(pull(*given, **named))
        METER.up += sum(size_bytes(each.content) for each in messages if not each.has_error())
        return messages

    vars(grid).update(push_messages=pushed, pull_messages=pulled)


def size_bytes(content: RecordDict) -> int:
    """Return the size of what records hold."""
    return sum(_size(item) for record in content.values() for item in record.values())


def _size(item: Any) -> int:
    if isinstance(item, list):
        return sum(map(_size, item))
    if isinstance(item, str):
        return len(item.encode())
    if isinstance(item, int | float):
        return 8
    return len(item) if isinstance(item, bytes) else len(item.data)
