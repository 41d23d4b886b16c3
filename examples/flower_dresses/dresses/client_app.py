"""A party: trains on its rows, evaluates on its test rows, and keeps Adam's moments."""

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

from privfed.integrations.flower import EncryptedMod

from .task import load_rows, network, score, train_epoch

app = ClientApp(mods=[EncryptedMod(travels="updates")])


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train one epoch."""
    place = int(context.node_config["partition-id"])
    model, (rows, _) = _model(msg), load_rows(place)
    kept = context.state.array_records.get("moments", ArrayRecord())
    moments = train_epoch(
        model,
        rows,
        {name: each.numpy() for name, each in kept.items()},
        place,
        msg.content.config_records["config"]["server-round"],  # type: ignore[arg-type]
    )
    context.state["moments"] = ArrayRecord({name: Array(each) for name, each in moments.items()})
    content = RecordDict()
    content["arrays"] = ArrayRecord(model.state_dict())
    content["metrics"] = MetricRecord({"num-examples": len(rows[1])})
    return Message(content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate on the party's test rows."""
    _, rows = load_rows(int(context.node_config["partition-id"]))
    loss, accuracy = score(_model(msg), rows)
    content = RecordDict()
    content["metrics"] = MetricRecord(
        {"loss": loss, "accuracy": accuracy, "num-examples": len(rows[1])}
    )
    return Message(content, reply_to=msg)


def _model(msg: Message) -> nn.Module:
    model = network()
    model.load_state_dict(msg.content.array_records["arrays"].to_torch_state_dict())
    return model
