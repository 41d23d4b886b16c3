"""The server's side of NVFlare: an aggregator that adds what it cannot read."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from numpy.typing import NDArray
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.abstract.model import ModelLearnableKey
from nvflare.app_common.aggregators.model_aggregator import ModelAggregator
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from privfed.errors import ConfigError, DecodeError, PrivFedError
from privfed.integrations.messages import Packet
from privfed.integrations.nvflare.persistor import CheckpointPersistor
from privfed.integrations.nvflare.records import (
    ANSWER,
    CHECKPOINT,
    TOPIC,
    UPLOAD,
    answer_in,
    array_bytes,
    arrays_of,
    bytes_array,
    checkpoint_in,
    request_of,
    result_in,
)
from privfed.integrations.server import EmbeddedServer
from privfed.secagg import Parameters

_POLL_SECONDS, _HELLO_SECONDS, _PING_SECONDS = 0.5, 10.0, 2.0


class EncryptedAggregator(ModelAggregator):  # type: ignore[misc]
    """An aggregator for `FedAvgRecipe(aggregator=…)`: the server adds what it cannot read.

    The server never has the model: what goes to clients and into files is a checkpoint that the
    parties alone can open. Every round asks all clients, and those whose group is not whole train
    for themselves: the recipe's `min_clients` says how few may be left. An error that NVFlare would
    log and pass over ends the job.

    Args:
        params: File of the parties' parameters; None: as the parties say.
        may_miss: Whether a run may begin without some parties of the roster.
        patience_seconds: For how long the first hello of all clients is waited for, and for those
            who open a total for the others.
    """

    def __init__(
        self, params: str | None = None, may_miss: bool = False, patience_seconds: float = 120.0
    ) -> None:
        super().__init__()
        self._params, self._may_miss = params, may_miss
        self._patience_seconds = patience_seconds
        self._server: EmbeddedServer[str] | None = None
        self._initial: dict[str, NDArray[Any]] | None = None
        self._rounds = 0
        self._waiting: dict[str, Packet] = {}
        self._problem: PrivFedError | None = None
        self._metrics: list[dict[str, float]] = []
        self._delivered = True

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Follow the run, by NVFlare's protocol of components."""
        super().handle_event(event_type, fl_ctx)
        if event_type == AppEventType.ROUND_STARTED:
            self._ask_all(fl_ctx)
        if event_type == EventType.ABOUT_TO_END_RUN and self._server is not None:
            try:
                if not self._delivered and not self._aborted():
                    self._deliver()
            except PrivFedError as error:
                self.system_panic(f"{type(error).__name__}: {error}", fl_ctx)
            finally:
                self._server.close()

    def reset_stats(self) -> None:
        """Begin a round: ask who is there, and each party for its update.

        Raises:
            PrivFedError: The run cannot go on; says why, and what to do.
        """
        if self._server is None:
            self._server = self._begun()
            self._greet_all()
        else:
            self._greet_again()
        server, self._problem, self._metrics = self._server, None, []
        packets = server.begin(self._nodes())
        self._waiting = server.show(set(self._nodes()) - packets.keys())
        for node, packet in (packets | self._waiting).items():
            self._send(node, packet, self._rounds > 0)
        self._rounds += 1

    def accept_model(self, model: FLModel) -> None:
        """Add a client's upload.

        Args:
            model: Its result.

        Raises:
            PrivFedError: It refused, or its upload cannot be added.
        """
        node = str((model.meta or {}).get("client_name"))
        try:
            answer, upload = _sealed(node, model)
            if node in self._waiting:  # for others of its group
                self._running.took(node, answer)
                return
            self._running.add(node, answer, upload)
        except PrivFedError as error:  # NVFlare logs it and goes on without: see aggregate_model
            self._problem = self._problem or error
            raise
        self._metrics.append(dict(model.metrics or {}))

    def aggregate_model(self) -> FLModel:
        """Close the round.

        Returns:
            A checkpoint, and the mean of each metric that clients reveal.

        Raises:
            PrivFedError: A client refused, or its upload cannot be added, or too few sent.
        """
        if self._problem is not None:
            raise self._problem
        server = self._running
        senders = server.senders
        total = server.total(self._ask_openers, self.warning)
        self._delivered = False
        self.info(f"{len(senders)} parties are in the sum")
        for node, party in server.gone.items():
            self.warning(f"{node} (party {party}) did not send: its group is left out")
        params = {CHECKPOINT: bytes_array(total)}
        return FLModel(params_type=ParamsType.FULL, params=params, metrics=_means(self._metrics))

    # -- the run ---------------------------------------------------------------------------------

    @property
    def _running(self) -> EmbeddedServer[str]:
        if self._server is None:
            raise ConfigError("a round begins with reset_stats()")
        return self._server

    def _begun(self) -> EmbeddedServer[str]:
        engine = self.fl_ctx.get_engine()
        with engine.new_context() as fl_ctx:
            begin = fl_ctx.get_prop(AppConstants.GLOBAL_MODEL)
        persistor = engine.get_component(AppConstants.DEFAULT_PERSISTOR_ID)
        if begin is None or not isinstance(persistor, CheckpointPersistor):
            raise ConfigError(
                "the recipe needs model_persistor=CheckpointPersistor(…): others keep models, and "
                "this server never has one"
            )
        params = begin[ModelLearnableKey.WEIGHTS]
        checkpoint = checkpoint_in(params)
        start = arrays_of(params) if checkpoint is None else checkpoint
        self._initial = None if isinstance(start, bytes) else start
        known = Parameters.from_bytes(Path(self._params).read_bytes()) if self._params else None
        return EmbeddedServer(start, params=known, may_miss=self._may_miss)

    def _ask_all(self, fl_ctx: FLContext) -> None:
        """Have NVFlare ask all clients: a random subset of them would leave whole groups out."""
        controller = fl_ctx.get_engine().get_component(fl_ctx.get_prop(FLContextKey.WORKFLOW))
        if hasattr(controller, "num_clients"):
            controller.num_clients = None

    # -- what goes to the clients ----------------------------------------------------------------

    def _nodes(self) -> list[str]:
        return [client.name for client in self.fl_ctx.get_engine().get_clients()]

    def _greet_all(self) -> None:
        """Say hello until all clients have answered, or patience ends."""
        server, until = self._running, time.monotonic() + self._patience_seconds
        heard: set[str] = set()
        while silent := sorted(set(self._nodes()) - heard):
            heard |= self._greet(silent, _HELLO_SECONDS)
            if time.monotonic() > until or self._aborted():
                break
            if heard != set(self._nodes()):
                time.sleep(_POLL_SECONDS)
        if silent := sorted(set(self._nodes()) - heard):
            self.warning(
                f"{', '.join(silent[:3])} do not say hello: privfed must be installed there, and "
                "the recipe needs add_client_input_filter(DecryptModel())"
            )
        if not server.settle():
            self._greet(sorted(heard), self._patience_seconds)
            server.settle()

    def _greet_again(self) -> None:
        """Ask clients that are gone or new."""
        server, here = self._running, set(self._nodes())
        self._greet(sorted((server.gone.keys() | server.strangers(here)) & here), _PING_SECONDS)

    def _greet(self, nodes: list[str], seconds: float) -> set[str]:
        """Return those of the clients that said hello in time."""
        said = set()
        for node, reply in self._replies(nodes, self._running.greeting(), seconds).items():
            if (answer := answer_in(reply)) is not None:
                self._running.hear(node, answer)
                said.add(node)
        return said

    def _ask_openers(self, packets: dict[str, Packet]) -> Iterable[tuple[str, bytes, bytes]]:
        """Send the total to some who open it for the others; return what they answer in time."""
        for node, packet in packets.items():
            reply = self._replies([node], packet, self._patience_seconds).get(node)
            if (answer := answer_in(reply)) is not None:
                yield node, answer, result_in(reply)

    def _send(self, node: str, packet: Packet, late: bool) -> None:
        """Send what a client is asked; what all of them get goes in the task itself.

        Args:
            node: The client.
            packet: What it is asked.
            late: Whether the task brings the newest total; in the first round it brings the model.
        """
        initial = self._initial if packet.initial and late else None
        totals = packet.totals[:-1] if late else packet.totals
        self._replies([node], Packet(packet.ask, totals), self._patience_seconds, initial)

    def _deliver(self) -> None:
        """Send the last total to all: the model is theirs."""
        packets = self._running.show(self._nodes(), "finish")
        for node, packet in packets.items():
            initial = self._initial if packet.initial else None
            reply = self._replies([node], packet, self._patience_seconds, initial).get(node)
            if (answer := answer_in(reply)) is None:
                self.warning(f"{node} did not take the last total: it is in the checkpoint")
            else:
                self._running.took(node, answer)
        self._delivered = True

    def _replies(
        self,
        nodes: list[str],
        packet: Packet,
        seconds: float,
        initial: dict[str, NDArray[Any]] | None = None,
    ) -> dict[str, Any]:
        """Return what each client answers in time."""
        if not nodes:
            return {}
        engine = self.fl_ctx.get_engine()
        with engine.new_context() as fl_ctx:
            replies: dict[str, Any] | None = engine.send_aux_request(
                targets=nodes,
                topic=TOPIC,
                request=request_of(packet.ask, packet.totals, initial),
                timeout=seconds,
                fl_ctx=fl_ctx,
                optional=True,
            )
        return replies or {}

    def _aborted(self) -> bool:
        signal = self.fl_ctx.get_run_abort_signal()
        return bool(signal is not None and signal.triggered)


def _sealed(node: str, model: FLModel) -> tuple[bytes, bytes]:
    """Return a client's answer and upload."""
    answer = (model.meta or {}).get(ANSWER)
    if not isinstance(answer, bytes) or list(model.params or {}) != [UPLOAD]:
        raise DecodeError(
            f"{node} answers in the clear: the recipe needs add_client_output_filter("
            "EncryptModel()), after all others"
        )
    return answer, array_bytes(model.params[UPLOAD])


def _means(revealed: Iterable[dict[str, float]]) -> dict[str, float] | None:
    """Return the mean of each metric over those that reveal it."""
    values: dict[str, list[float]] = {}
    for metrics in revealed:
        for name, value in metrics.items():
            if isinstance(value, int | float):
                values.setdefault(name, []).append(float(value))
    return {name: fmean(each) for name, each in values.items()} or None
