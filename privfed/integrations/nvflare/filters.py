"""A client's side of NVFlare: a filter that opens what arrives, one that encrypts what leaves."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.app_common.app_constant import AppConstants
from nvflare.job_config.defs import FilterType

from privfed.errors import ConfigError, DecodeError, PrivFedError
from privfed.integrations.kept import Arrays
from privfed.integrations.messages import Assignment, Greet, Refused, Travels, encode, read_ask
from privfed.integrations.nvflare.records import (
    ANSWER,
    TOPIC,
    UPLOAD,
    arrays_of,
    bytes_array,
    checkpoint_in,
    read_request,
    reply_of,
)
from privfed.integrations.nvflare.site import party_of, revealed
from privfed.integrations.settings import weight_of
from privfed.integrations.spool import read_checkpoint

TASK = "train"
_READ = (  # headers that are in the FLModel of a script, which may train by them
    AppConstants.START_ROUND,
    AppConstants.CURRENT_ROUND,
    AppConstants.NUM_ROUNDS,
    AppConstants.VALIDATE_TYPE,
)
_WORK, _SEALED = "privfed.work", "privfed.sealed"


@dataclass(frozen=True)
class _Asked:
    """An assignment, and what came with it."""

    ask: Assignment
    totals: list[bytes]
    initial: dict[str, NDArray[Any]] | None


@dataclass(frozen=True)
class _Work:
    """What one filter leaves to the other: in the context of a task, at this client."""

    ask: Assignment
    given: bytes  # what the party says of the model that it gave
    travels: Travels
    settings: bytes


class _TrainFilter(Filter):  # type: ignore[misc]
    """A filter of training tasks; NVFlare takes "*" for a task's name, and would never call it."""

    filter_type = ""

    def add_to_fed_job(self, job: Any, ctx: Any, **kwargs: Any) -> None:
        """Take part in a job, by NVFlare's protocol.

        Raises:
            ConfigError: It is added for other tasks, or in the other direction.
        """
        tasks = kwargs.get("tasks") or [TASK]
        if tasks != [TASK]:
            raise ConfigError(f"{type(self).__name__} is for tasks=['{TASK}'], not {tasks}")
        if kwargs.get("filter_type") != self.filter_type:
            raise ConfigError(
                "DecryptModel is an input filter of clients, EncryptModel an output filter"
            )
        job.add_filter(obj=self, filter_type=self.filter_type, tasks=tasks, ctx=ctx)


class DecryptModel(_TrainFilter):
    """Opens what arrives: the first of a client's input filters.

    It answers the server's questions, too, and lets no result leave that `EncryptModel` did not
    make. Settings are the client's own, in its environment:

    - PRIVFED_KEYS: the keyring folder, or a folder of such by client name, for a simulation.
    - PRIVFED_PASSPHRASE_FILE: a file whose first line locks it.
    - PRIVFED_REVEAL: names of metrics, with commas, that the server may read.

    Args:
        travels: What uploads hold: "weights", or "updates", which are more precise; the same at
            all parties. With noise shares it is the plan that decides.
    """

    filter_type = FilterType.TASK_DATA

    def __init__(self, travels: Travels = "weights") -> None:
        super().__init__()
        if travels not in ("weights", "updates"):
            raise ConfigError(f"travels is 'weights' or 'updates', not {travels!r}")
        self._travels: Travels = travels
        self._asked: _Asked | None = None
        self._one = threading.Lock()  # questions come in threads of their own

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Follow the run, by NVFlare's protocol of components."""
        if event_type == EventType.START_RUN:
            fl_ctx.get_engine().register_aux_message_handler(TOPIC, self._answer)
        elif event_type == EventType.AFTER_TASK_RESULT_FILTER:
            self._hold_back(fl_ctx)

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Put the model in the place of what arrived.

        Args:
            shareable: A task's data.
            fl_ctx: The task's context.

        Returns:
            The same task with the model.

        Raises:
            PrivFedError: It does not open, or was not asked for as agreed.
        """
        try:
            return self._opened(shareable, fl_ctx)
        except PrivFedError as error:
            _log(self, fl_ctx, error)
            raise

    def _answer(self, topic: str, request: Shareable, fl_ctx: FLContext) -> Shareable:
        """Answer a question of the server."""
        try:
            data, totals, initial = read_request(request)
            ask = read_ask(data)
            with self._one:
                if isinstance(ask, Assignment) and ask.purpose in ("train", "evaluate"):
                    self._asked = _Asked(ask, totals, initial)
                    return make_reply(ReturnCode.OK)
                with party_of(fl_ctx, self._travels) as party:
                    if isinstance(ask, Greet):
                        return reply_of(encode(party.greet(ask, totals)))
                    party.receive(ask, initial, totals)
                    result = party.result(ask) if ask.purpose == "open" else b""
                    return reply_of(encode(party.done()), result)
        except PrivFedError as error:
            _log(self, fl_ctx, error)
            return reply_of(encode(Refused(type(error).__name__)))

    def _opened(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        with self._one:
            asked, self._asked = self._asked, None
            if asked is None:
                raise ConfigError(
                    "the server's aggregator is not encrypted, or asks twice for a round: give the "
                    "recipe aggregator=EncryptedAggregator()"
                )
            sent = _data_of(shareable)
            totals, initial = list(asked.totals), asked.initial
            checkpoint = checkpoint_in(sent.data)
            if checkpoint is None:
                initial = arrays_of(sent.data)
            elif len(totals) < len(asked.ask.totals):  # the newest total is in the task
                totals.append(read_checkpoint(checkpoint)[1])
            with party_of(fl_ctx, self._travels) as party:
                model = party.receive(asked.ask, initial, totals)
                work = _Work(asked.ask, party.given, self._travels, _settings(shareable, sent))
        fl_ctx.set_prop(_WORK, work, private=True, sticky=False)
        return DXO(DataKind.WEIGHTS, data=model, meta=sent.meta).update_shareable(shareable)

    def _hold_back(self, fl_ctx: FLContext) -> None:
        """Empty a result that is not what `EncryptModel` made: of whatever task."""
        result = fl_ctx.get_prop(FLContextKey.TASK_RESULT)
        if result is None or result is fl_ctx.get_prop(_SEALED):
            return
        code = result.get_return_code()
        if code == ReturnCode.OK:
            code = ReturnCode.TASK_RESULT_FILTER_ERROR
            task = fl_ctx.get_prop(FLContextKey.TASK_NAME)
            _log(
                self,
                fl_ctx,
                ConfigError(
                    f"the result of task {task!r} is not what EncryptModel made, and is held back: "
                    f"it is the last output filter, and a job has tasks {TASK!r} alone"
                ),
            )
        result.clear()
        result.update(make_reply(code))


class EncryptModel(_TrainFilter):
    """Encrypts what leaves: the last of a client's output filters.

    Nothing else than the upload and the metrics that the client reveals is in its result.

    Args:
        weighted_by: The metadata of a result that says how much this party counts; it travels
            encrypted.
    """

    filter_type = FilterType.TASK_RESULT

    def __init__(self, weighted_by: str = MetaKey.NUM_STEPS_CURRENT_ROUND) -> None:
        super().__init__()
        self._weighted_by = weighted_by

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Put an upload in the place of the model.

        Args:
            shareable: The application's result.
            fl_ctx: The task's context.

        Returns:
            A result with the upload alone, or with a refusal.
        """
        if shareable.get_return_code() != ReturnCode.OK:
            return make_reply(shareable.get_return_code())  # and nothing that it may hold
        try:
            sealed = self._encrypted(_data_of(shareable), fl_ctx)
        except PrivFedError as error:
            _log(self, fl_ctx, error)
            refused = encode(Refused(type(error).__name__))
            sealed = _result(b"", refused, {})
        fl_ctx.set_prop(_SEALED, sealed, private=True, sticky=False)
        return sealed

    def _encrypted(self, trained: DXO, fl_ctx: FLContext) -> Shareable:
        work: _Work | None = fl_ctx.get_prop(_WORK)
        if work is None:
            raise ConfigError("DecryptModel is not among the client's input filters")
        if trained.data_kind != DataKind.WEIGHTS:
            raise ConfigError(
                "the script sends differences or figures: send whole weights (ParamsType.FULL); "
                "DecryptModel(travels='updates') encrypts differences of them"
            )
        metrics = trained.meta.get(MetaKey.INITIAL_METRICS) or {}
        shown = {name: value for name, value in metrics.items() if name in revealed()}
        weight = weight_of(trained.meta.get(self._weighted_by))
        trained_arrays = _trained(trained)
        with party_of(fl_ctx, work.travels) as party:
            upload = b""
            if work.ask.purpose == "train":  # else it waits for others of its group
                upload = party.upload(
                    work.ask, trained_arrays, weight, work.settings, given=work.given
                )
            return _result(upload, encode(party.done()), shown)


def _settings(task: Shareable, sent: DXO) -> bytes:
    """Return what stands for all of a server's that a script reads beside a model."""
    headers = {name: task.get_header(name) for name in _READ}
    try:
        text = json.dumps([sent.meta, headers], sort_keys=True)
    except (TypeError, ValueError):
        raise ConfigError("the metadata of a task are numbers and texts") from None
    return hashlib.sha256(b"privfed/1/settings\x00" + text.encode()).digest()


def _data_of(shareable: Shareable) -> DXO:
    """Return what a task or a result holds, which must be one model that is not empty."""
    try:
        found = from_shareable(shareable)
    except ValueError:
        raise DecodeError("a task or its result holds no model") from None
    if not isinstance(found.data, dict) or not found.data:
        raise ConfigError(
            "the model is empty: arrays of numpy need framework=FrameworkType.NUMPY in the recipe, "
            "tensors need FrameworkType.PYTORCH"
        )
    return found


def _trained(result: DXO) -> Arrays:
    if UPLOAD in result.data:
        raise ConfigError("EncryptModel is among the client's output filters twice")
    return arrays_of(result.data)


def _result(upload: bytes, answer: bytes, metrics: dict[str, Any]) -> Shareable:
    meta: dict[str, Any] = {ANSWER: answer}
    if metrics:
        meta[MetaKey.INITIAL_METRICS] = metrics
    made = DXO(DataKind.WEIGHTS, data={UPLOAD: bytes_array(upload)}, meta=meta)
    return made.to_shareable()


def _log(part: Filter, fl_ctx: FLContext, error: PrivFedError) -> None:
    """Tell this client's operator why; an event of it would go to the server."""
    part.log_error(fl_ctx, f"privfed refuses: {type(error).__name__}: {error}", fire_event=False)
