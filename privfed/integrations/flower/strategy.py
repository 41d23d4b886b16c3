"""The server's side of Flower: a strategy that adds what it cannot read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from logging import INFO, WARNING
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result, Strategy
from flwr.supercore import log

from privfed.errors import ConfigError, DecodeError, PrivFedError, QuorumError
from privfed.integrations.flower.records import (
    ASK,
    CHECKPOINT,
    RESULT,
    UPLOAD,
    array_bytes,
    arrays_of,
    bytes_array,
    checkpoint_in,
    message_in,
    put_message,
    put_totals,
)
from privfed.integrations.messages import Packet
from privfed.integrations.server import EmbeddedServer
from privfed.secagg import Parameters

_POLL_SECONDS = 0.5


class EncryptedStrategy(Strategy):
    """A strategy around one that averages: whom to ask is its choice, the sum is encrypted.

    The server never has the model. `Result.arrays` is a checkpoint that the parties alone can open;
    as `initial_arrays` of another run it resumes there. Evaluation is the parties'.

    Args:
        strategy: FedAvg, or one that changes what it asks and not how it adds, such as FedProx.
        params: The parties' parameters, or a file of them; None: as the parties say.
        may_miss: Whether a run may begin without some parties of the roster.
        patience_seconds: For how long the first hello of all parties is waited for, and for those
            who open a total for the others.

    Raises:
        ConfigError: The strategy reads single updates, or the mean, on the server.
    """

    def __init__(
        self,
        strategy: FedAvg,
        *,
        params: Parameters | Path | None = None,
        may_miss: bool = False,
        patience_seconds: float = 120.0,
    ) -> None:
        reads = getattr(type(strategy), "aggregate_train", None)
        if reads is not FedAvg.aggregate_train:
            raise ConfigError(
                f"{type(strategy).__name__} computes on updates or on the mean, which this server "
                "never has: wrap FedAvg or FedProx, and let the parties do the rest"
            )
        self._inner, self._may_miss = strategy, may_miss
        self._params = (
            Parameters.from_bytes(params.read_bytes()) if isinstance(params, Path) else params
        )
        self._patience_seconds = patience_seconds
        self._server: EmbeddedServer[int] | None = None
        self._grid: Grid | None = None
        self._initial = ArrayRecord()
        self._settled = False
        self._asked_again: dict[str, int] = {}
        self._lost: QuorumError | None = None

    def summary(self) -> None:
        """Log what the inner strategy does, and that it is encrypted."""
        log(INFO, "\t├──> Encrypted by privfed: the server reads neither updates nor the model")
        self._inner.summary()

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Run the rounds; arguments are those of `Strategy.start`.

        Args:
            grid: Flower's.
            initial_arrays: The initial model, or a checkpoint: `Result.arrays` of a run before.
            num_rounds: How many.
            timeout: Seconds after which a client that does not answer is gone.
            train_config: For the clients' training.
            evaluate_config: For their evaluation.
            evaluate_fn: None: the server has no model to evaluate.

        Returns:
            Metrics that parties reveal, and the last checkpoint.

        Raises:
            ConfigError: There is an `evaluate_fn`.
            PrivFedError: The run cannot go on; says why, and what to do.
        """
        if evaluate_fn is not None:
            raise ConfigError(
                "evaluate_fn needs the model, which this server never has: leave it out; clients "
                "evaluate, and each party keeps the model (privfed.integrations.trained_model)"
            )
        checkpoint = checkpoint_in(initial_arrays)
        if checkpoint is None:
            self._initial = initial_arrays
        begin = arrays_of(initial_arrays) if checkpoint is None else checkpoint
        self._server = EmbeddedServer(begin, params=self._params, may_miss=self._may_miss)
        self._settled, self._asked_again, self._lost = False, {}, None
        self._grid = grid
        try:
            result = super().start(
                grid, initial_arrays, num_rounds, timeout, train_config, evaluate_config
            )
            if self._lost is not None and not result.arrays:
                raise self._lost  # Flower would say that the run is finished
            self._finish(grid)
            return result
        finally:
            self._server.close()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask those whom the inner strategy chose, as far as they make whole groups."""
        if self._settled:
            self._look_for(grid)
        else:
            self._greet_all(grid)  # before the choice: nodes may come one after another
        chosen = list(self._inner.configure_train(server_round, ArrayRecord(), config, grid))
        if not chosen:
            return []
        try:
            packets = self._running.begin(message.metadata.dst_node_id for message in chosen)
        except QuorumError as error:
            if self._inner.fraction_train >= 1:
                raise
            raise QuorumError(
                f"{error}; only some nodes were chosen, and seldom whole groups: fraction_train=1.0"
            ) from None
        if waiting := len(chosen) - len(packets):
            log(INFO, "configure_train: %s nodes wait for others of their groups", waiting)
        return self._messages(chosen, packets)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Add the uploads."""
        server, contents = self._running, []
        for reply in replies:
            if reply.has_error():
                self._say_gone(reply)
                continue
            node, content = reply.metadata.src_node_id, reply.content
            server.add(node, _answer(reply), _bytes_in(content, UPLOAD))
            contents.append(RecordDict(dict(content.metric_records)))
        senders = server.senders
        try:
            total = server.total(self._ask_openers, lambda line: log(WARNING, line))
        except QuorumError as error:
            self._lost = error
            log(WARNING, "aggregate_train: round %s gives nothing: %s", server_round, error)
            self._say_who_is_gone()
            return None, None
        log(INFO, "aggregate_train: %s parties are in the sum", len(senders))
        self._say_who_is_gone()
        _revealed_by_all(contents)
        metrics = self._inner.train_metrics_aggr_fn(contents, self._inner.weighted_by_key)
        return ArrayRecord({CHECKPOINT: bytes_array(total)}), metrics or None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the total to those whom the inner strategy chose, who evaluate the model."""
        chosen = list(self._inner.configure_evaluate(server_round, ArrayRecord(), config, grid))
        packets = self._running.show(message.metadata.dst_node_id for message in chosen)
        return self._messages(chosen, packets)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return the metrics that parties reveal, averaged as the inner strategy does."""
        told = []
        for reply in replies:
            if not reply.has_error():
                self._running.took(reply.metadata.src_node_id, _answer(reply))
                del reply.content[ASK]
            told.append(reply)
        _revealed_by_all([reply.content for reply in told if not reply.has_error()])
        return self._inner.aggregate_evaluate(server_round, told) or None

    # -- what goes to the nodes ------------------------------------------------------------------

    @property
    def _running(self) -> EmbeddedServer[int]:
        if self._server is None:
            raise ConfigError("a strategy runs by its start()")
        return self._server

    def _messages(self, chosen: list[Message], packets: dict[int, Packet]) -> list[Message]:
        """Return a message a packet: what the inner strategy says, with the packet in it."""
        made = []
        for message in chosen:
            packet = packets.get(message.metadata.dst_node_id)
            if packet is None:
                continue
            key = self._inner.arrayrecord_key
            content = RecordDict(dict(message.content))
            content[key] = self._initial if packet.initial else ArrayRecord()
            made.append(
                _message(
                    content, packet, message.metadata.dst_node_id, message.metadata.message_type
                )
            )
        return made

    def _greeting(self, node: int) -> Message:
        return _message(RecordDict(), self._running.greeting(), node, MessageType.TRAIN)

    def _greet_all(self, grid: Grid) -> None:
        """Say hello to all, until the roster is there or patience ends."""
        server, until = self._running, time.monotonic() + self._patience_seconds
        heard: set[int] = set()
        while True:
            new = sorted(set(grid.get_node_ids()) - heard)
            heard.update(self._greet(grid, new))
            wanted = len(server.params.roster) if server.params else 1
            if len(heard) >= wanted or time.monotonic() > until:
                break
            time.sleep(_POLL_SECONDS)
        if not server.settle():
            self._greet(grid, sorted(heard))
            server.settle()
        self._settled = True

    def _greet(self, grid: Grid, nodes: list[int]) -> set[int]:
        """Return those of the nodes that said hello."""
        said = set()
        greetings = [self._greeting(node) for node in nodes]
        for reply in grid.send_and_receive(greetings, timeout=self._patience_seconds):
            if reply.has_error():
                self._say_gone(reply)
                continue
            self._running.hear(reply.metadata.src_node_id, _answer(reply))
            said.add(reply.metadata.src_node_id)
        return said

    def _look_for(self, grid: Grid) -> None:
        """Ask nodes that are gone or new, without waiting for them."""
        here = set(grid.get_node_ids())
        self._running.left(here)
        for reply in grid.pull_messages(list(self._asked_again)) if self._asked_again else ():
            node = self._asked_again.pop(reply.metadata.reply_to_message_id, None)
            if node is None or reply.has_error():
                continue
            try:
                self._running.hear(node, _answer(reply))
            except PrivFedError as error:  # the run goes on without it
                log(WARNING, "node %s: %s", node, error)
        lost = set(self._running.gone) | self._running.strangers(here)
        asked = sorted((lost & here) - set(self._asked_again.values()))
        if asked:
            pushed = grid.push_messages([self._greeting(node) for node in asked])
            self._asked_again |= {
                name: node for name, node in zip(pushed, asked, strict=False) if name
            }

    def _finish(self, grid: Grid) -> None:
        """Send the last total to those who have not opened it: the model is theirs."""
        packets = self._running.show(grid.get_node_ids(), "finish")
        messages = [
            _message(RecordDict(), packet, node, MessageType.TRAIN)
            for node, packet in packets.items()
            if packet.totals
        ]
        for reply in (
            grid.send_and_receive(messages, timeout=self._patience_seconds) if messages else ()
        ):
            if reply.has_error():
                self._say_gone(reply)
            else:
                self._running.took(reply.metadata.src_node_id, _answer(reply))

    def _ask_openers(self, packets: dict[int, Packet]) -> Iterable[tuple[int, bytes, bytes]]:
        """Send the total to some who open it for the others; return what they answer in time."""
        if self._grid is None:
            return
        messages = [
            _message(RecordDict(), packet, node, MessageType.TRAIN)
            for node, packet in packets.items()
        ]
        for reply in self._grid.send_and_receive(messages, timeout=self._patience_seconds):
            if reply.has_error():
                self._say_gone(reply)
            else:
                said, result = message_in(reply.content) or b"", b""
                with suppress(DecodeError):  # the next one is asked
                    result = _bytes_in(reply.content, RESULT)
                yield reply.metadata.src_node_id, said, result

    def _say_gone(self, reply: Message) -> None:
        log(WARNING, "node %s: %s", reply.metadata.src_node_id, reply.error.reason)

    def _say_who_is_gone(self) -> None:
        for node, party in self._running.gone.items():
            log(WARNING, "node %s (party %s) did not send: its group is left out", node, party)


def _message(content: RecordDict, packet: Packet, node: int, kind: str) -> Message:
    put_message(content, packet.ask)
    put_totals(content, packet.totals)
    return Message(content=content, message_type=kind, dst_node_id=node)


def _revealed_by_all(contents: list[RecordDict]) -> None:
    """Leave out metrics that some parties keep to themselves: there is no average of them."""
    names = [
        {(key, name) for key, record in each.metric_records.items() for name in record}
        for each in contents
    ]
    common = set.intersection(*names) if names else set()
    for each in contents:
        for key, record in each.metric_records.items():
            for name in [name for name in record if (key, name) not in common]:
                del record[name]


def _answer(reply: Message) -> bytes:
    found = message_in(reply.content)
    if found is None:
        raise DecodeError(
            f"node {reply.metadata.src_node_id} answers in the clear: its ClientApp needs "
            "mods=[EncryptedMod()], before all others"
        )
    return found


def _bytes_in(content: RecordDict, name: str) -> bytes:
    records = list(content.array_records.values())
    if len(records) != 1 or list(records[0]) != [name]:
        return b""  # it refused, or it is none: the answer says
    return array_bytes(records[0][name])
