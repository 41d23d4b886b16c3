"""The client's side of Flower: a mod that opens what arrives and encrypts what leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from logging import ERROR

from flwr.app import ArrayRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from flwr.supercore import log

from privfed.errors import ConfigError, PrivFedError
from privfed.integrations.flower.records import (
    ASK,
    RESULT,
    TOTALS,
    UPLOAD,
    arrays_of,
    bytes_array,
    message_in,
    put_message,
    record_of,
    settings_in,
    totals_in,
)
from privfed.integrations.messages import Assignment, Greet, Refused, Travels, encode, read_ask
from privfed.integrations.party import EmbeddedParty
from privfed.integrations.settings import names_in, party_in, weight_of

KEYS, PASSPHRASE_FILE, REVEAL = "privfed-keys", "privfed-passphrase-file", "privfed-reveal"

CallNext = Callable[[Message, Context], Message]


class EncryptedMod:
    """A mod for `ClientApp(mods=[EncryptedMod()])`: the first of them.

    The application trains and evaluates on plain arrays as before; what leaves the party is
    encrypted, and metrics leave only if the party names them. Settings are the party's own: they
    come from the node's configuration or its environment, never from the run's.

    - `privfed-keys` (environment: PRIVFED_KEYS): the keyring folder, or a folder of such by
      partition, `0`, `1`, …, for a simulation.
    - `privfed-passphrase-file` (PRIVFED_PASSPHRASE_FILE): a file whose first line locks it.
    - `privfed-reveal` (PRIVFED_REVEAL): names of metrics, with commas, that the server may read.

    Args:
        travels: What uploads hold: "weights", or "updates", which are more precise; the same at
            all parties. With noise shares it is the plan that decides.
        weighted_by: The metric of a training reply that says how much this party counts; it
            travels encrypted. The server reads 1.
    """

    def __init__(self, *, travels: Travels = "weights", weighted_by: str = "num-examples") -> None:
        if travels not in ("weights", "updates"):
            raise ConfigError(f"travels is 'weights' or 'updates', not {travels!r}")
        self._travels, self._weighted_by = travels, weighted_by

    def __call__(self, msg: Message, context: Context, call_next: CallNext) -> Message:
        """Answer a message: by Flower's protocol of mods."""
        category = msg.metadata.message_type.partition(".")[0]
        try:
            if category in (MessageType.TRAIN, MessageType.EVALUATE):
                return self._answer(msg, context, call_next)
            return self._queried(msg, context, call_next)
        except PrivFedError as error:
            log(ERROR, "privfed refuses: %s: %s", type(error).__name__, error)
            return _refused(type(error).__name__, msg)
        except Exception as error:  # Flower would send its text to the server
            log(ERROR, "privfed cannot answer", exc_info=error)
            return _refused(PrivFedError.__name__, msg)

    def _answer(self, msg: Message, context: Context, call_next: CallNext) -> Message:
        data = message_in(msg.content)
        if data is None:
            raise ConfigError(
                "the server's strategy is not encrypted: wrap it, EncryptedStrategy(FedAvg(…))"
            )
        ask, totals = read_ask(data), totals_in(msg.content)
        with self._party(context) as party:
            if isinstance(ask, Greet):
                content = RecordDict()
                put_message(content, encode(party.greet(ask, totals)))
                return Message(content, reply_to=msg)
            return self._work(party, ask, totals, msg, context, call_next)

    def _queried(self, msg: Message, context: Context, call_next: CallNext) -> Message:
        """Return the metrics that the party reveals of what an application says to a query."""
        from_app = self._called(call_next, msg, context)
        if from_app.has_error():
            return from_app
        if from_app.content.array_records or from_app.content.config_records:
            raise ConfigError("an application's arrays leave only encrypted, as a training's reply")
        reply = RecordDict()
        self._metrics(from_app.content, reply, context)
        return Message(reply, reply_to=msg)

    def _work(
        self,
        party: EmbeddedParty,
        ask: Assignment,
        totals: list[bytes],
        msg: Message,
        context: Context,
        call_next: CallNext,
    ) -> Message:
        asked = MessageType.EVALUATE if ask.purpose == "evaluate" else MessageType.TRAIN
        if msg.metadata.message_type.partition(".")[0] != asked:
            raise ConfigError("the server asks for something else than its message is for")
        key = _only_key(msg.content)
        sent = {} if key is None else arrays_of(msg.content.array_records[key])
        model = party.receive(ask, sent or None, totals)
        reply = RecordDict()
        settings = settings_in(msg, context.run_config)
        if ask.purpose == "open":
            reply["result"] = ArrayRecord({RESULT: bytes_array(party.result(ask))})
        elif ask.purpose != "finish":
            del msg.content[ASK]
            if TOTALS in msg.content:
                del msg.content[TOTALS]
            msg.content[key or "arrays"] = record_of(model)
            from_app = self._called(call_next, msg, context)
            if from_app.has_error():
                return from_app
            weight = self._metrics(from_app.content, reply, context)
            if ask.purpose == "train":
                name, trained = _trained(from_app.content)
                upload = party.upload(ask, arrays_of(trained), weight, settings)
                reply[name] = ArrayRecord({UPLOAD: bytes_array(upload)})
        put_message(reply, encode(party.done()))
        return Message(reply, reply_to=msg)

    def _called(self, call_next: CallNext, msg: Message, context: Context) -> Message:
        """Call the application; Flower would send the text of its exception to the server."""
        try:
            reply = call_next(msg, context)
        except Exception as error:
            log(ERROR, "The ClientApp raised an exception", exc_info=error)
            reason = f"the ClientApp raised {type(error).__name__}: its own log says more"
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=msg)
        if reply.has_error():
            log(ERROR, "The ClientApp answers with an error: %s", reply.error.reason)
            reason = "the ClientApp answers with an error: its own log says more"
            return Message(Error(reply.error.code, reason), reply_to=msg)
        return reply

    def _metrics(self, content: RecordDict, reply: RecordDict, context: Context) -> int | None:
        """Put the metrics that the party reveals into the reply; return its weight."""
        revealed = names_in(_setting(context, REVEAL))
        weight: int | None = None
        for name, record in content.metric_records.items():
            kept = {each: value for each, value in record.items() if each in revealed}
            if self._weighted_by in record:
                weight = weight_of(record[self._weighted_by])
            reply[name] = MetricRecord(kept | {self._weighted_by: 1})
        if not reply.metric_records:
            reply["metrics"] = MetricRecord({self._weighted_by: 1})
        return weight

    def _party(self, context: Context) -> EmbeddedParty:
        named = _setting(context, KEYS)
        if not named:
            raise ConfigError(
                f"this party has no keys: give its node {KEYS}='/its/keyring' "
                "(flower-supernode's node-config), or set PRIVFED_KEYS in its environment"
            )
        partition = str(context.node_config.get("partition-id", ""))
        file = _setting(context, PASSPHRASE_FILE)
        return party_in(named, partition, file, f"flower/{context.run_id}", self._travels)


def _refused(reason: str, msg: Message) -> Message:
    """Tell the server that it is so; why, only this party's operator reads."""
    content = RecordDict()
    put_message(content, encode(Refused(reason)))
    return Message(content, reply_to=msg)


def _setting(context: Context, name: str) -> str:
    """Return a setting of the node, or of the environment; empty if there is none."""
    found = context.node_config.get(name)
    if found is None:
        found = os.environ.get(name.upper().replace("-", "_"), "")
    return str(found)


def _only_key(content: RecordDict) -> str | None:
    """Return the name of the record with the model."""
    keys = [key for key in content.array_records if key != TOTALS]
    if len(keys) > 1:
        raise ConfigError("a message brings several models: one ArrayRecord is encrypted")
    return keys[0] if keys else None


def _trained(content: RecordDict) -> tuple[str, ArrayRecord]:
    """Return the application's only record of arrays, after a look at what else it would send."""
    if content.config_records:
        raise ConfigError(
            "the application's reply holds a ConfigRecord, which the server could read: keep it in "
            "context.state"
        )
    if len(content.array_records) != 1:
        raise ConfigError("a training's reply holds the model's arrays in one ArrayRecord")
    return next(iter(content.array_records.items()))
