"""Nodes come one after another; whom to ask is chosen when the roster is there."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from privfed.integrations import simulated_keys, trained_model
from privfed.integrations.flower import EncryptedMod, EncryptedStrategy
from tests.integrations.grid import OneProcessGrid

PARTIES = 4  # one group: a round without one of them gives nothing
START = {"w": np.zeros(5, np.float32)}

client = ClientApp(mods=[EncryptedMod()])


@client.train()
def train(msg: Message, context: Context) -> Message:
    after = msg.content.array_records["arrays"]["w"].numpy() + 1
    content = RecordDict()
    content["arrays"] = ArrayRecord({"w": Array(after)})
    content["metrics"] = MetricRecord({"num-examples": 1})
    return Message(content, reply_to=msg)


class Late(OneProcessGrid):
    """At each look one node more is there."""

    looks = 1

    def get_node_ids(self) -> Iterable[int]:
        self.looks += 1
        return list(super().get_node_ids())[: self.looks]


def test_nodes_that_come_late_are_in_the_first_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privfed.integrations.flower.strategy._POLL_SECONDS", 0.0)
    simulated_keys(tmp_path, START, parties=PARTIES, max_weight=8)
    nodes = [{"privfed-keys": str(tmp_path), "partition-id": place} for place in range(PARTIES)]
    start = ArrayRecord({name: Array(each) for name, each in START.items()})
    strategy = EncryptedStrategy(FedAvg(fraction_evaluate=0.0))
    strategy.start(Late([client] * PARTIES, nodes), start, num_rounds=1)
    for place in range(PARTIES):
        np.testing.assert_allclose(trained_model(tmp_path / str(place))["w"], 1, atol=1e-3)
