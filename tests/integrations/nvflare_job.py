"""A job of NVFlare in one process: its own FedAvg and client runners, messages through their wire.

In the place of cells there are calls; the server may be hostile, and sites may die.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.filter import Filter
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.apis.shareable import ReservedHeaderKey, Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.apis.utils.event import fire_event_to_components
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.decomposers import common_decomposers
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.fuel.utils import fobs
from nvflare.private.fed.client.client_engine_executor_spec import TaskAssignment
from nvflare.private.fed.client.client_runner import ClientRunner, ClientRunnerConfig, TaskRouter

from privfed.integrations.nvflare import (
    CheckpointPersistor,
    DecryptModel,
    EncryptedAggregator,
    EncryptModel,
)

flare_decomposers.register()
common_decomposers.register()

Script = Callable[[FLModel], FLModel | Shareable]
"""A client's script, for one round; or an executor's result as it is."""


class _Scripted(Executor):  # type: ignore[misc]
    """What a client's script is to NVFlare."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script

    def execute(
        self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal
    ) -> Shareable:
        result = self.script(FLModelUtils.from_shareable(shareable))
        return result if isinstance(result, Shareable) else FLModelUtils.to_shareable(result)


class Site:
    """A client: NVFlare's own runner, with some filters and a script."""

    def __init__(
        self,
        name: str,
        script: Script,
        before: list[Filter],
        after: list[Filter],
        run: str = "job",
    ) -> None:
        self.name, self.handlers, self.run = name, [*before, *after], run
        self.contexts = FLContextManager(self, name, run)
        self.topics: dict[str, Callable[..., Shareable]] = {}
        router = TaskRouter()
        router.add_executor(["*"], _Scripted(script))
        self.runner = ClientRunner(
            {},
            ClientRunnerConfig(
                router,
                {f"train{FilterKey.DELIMITER}{FilterKey.IN}": before},
                {f"train{FilterKey.DELIMITER}{FilterKey.OUT}": after},
                handlers=self.handlers,
            ),
            run,
            self,
        )
        with self.new_context() as fl_ctx:
            fl_ctx.set_prop(ReservedKey.RUN_ABORT_SIGNAL, Signal(), private=True, sticky=True)
            self.fire_event(EventType.START_RUN, fl_ctx)

    def new_context(self) -> FLContext:
        return self.contexts.new_context()

    def register_aux_message_handler(self, topic: str, message_handle_func: Any) -> None:
        self.topics[topic] = message_handle_func

    def fire_event(self, event_type: str, fl_ctx: FLContext) -> None:
        fire_event_to_components(event_type, self.handlers, fl_ctx)

    def asked(self, topic: str, request: Shareable) -> Shareable:
        """Return what this site answers to an auxiliary message."""
        if topic not in self.topics:
            return make_reply(ReturnCode.TOPIC_UNKNOWN)
        with self.new_context() as fl_ctx:
            return self.topics[topic](topic=topic, request=request, fl_ctx=fl_ctx)

    def done(self, task: str, data: Shareable) -> Shareable:
        """Return the result of a task."""
        with self.new_context() as fl_ctx:
            peer = FLContext()
            peer.set_prop(ReservedKey.RUN_NUM, self.run, private=False, sticky=False)
            fl_ctx.set_peer_context(peer)
            return self.runner._process_task(TaskAssignment(task, "1", data), fl_ctx)


class Job(FedAvg):  # type: ignore[misc]
    """A server's job over sites: NVFlare's FedAvg, whose tasks are done at once.

    Args:
        folder: Where the initial model, `start`, is, and where the job's files go.
        sites: By name.
        rounds: How many.
        aggregator: None: an encrypted one.
    """

    def __init__(
        self,
        folder: Path,
        sites: Sequence[Site],
        rounds: int,
        aggregator: EncryptedAggregator | None = None,
        *,
        start: str = "start",
        persistor: FLComponent | None = None,
    ) -> None:
        aggregator = aggregator or EncryptedAggregator(patience_seconds=0.0)
        super().__init__(
            num_clients=len(sites), num_rounds=rounds, aggregator=aggregator, task_check_period=0.01
        )
        self.sites = {site.name: site for site in sites}
        self.folder, self.panics, self.dead = folder, list[str](), set[str]()
        self.seen: list[bytes] = []  # all that the server reads
        self.to_site: Callable[[str, Shareable], Shareable] = lambda name, data: data
        self.aux: Callable[[str, Shareable], Shareable] = lambda name, request: request
        self.from_site: Callable[[str, Shareable], Shareable] = lambda name, data: data
        self.persistor = persistor or CheckpointPersistor(str(folder / start))
        self.handlers = [aggregator, self.persistor]
        private = {
            FLContextKey.APP_ROOT: str(folder),
            FLContextKey.WORKFLOW: "controller",
            FLContextKey.WORKSPACE_OBJECT: self,
            ReservedKey.RUN_ABORT_SIGNAL: Signal(),
        }
        self.contexts = FLContextManager(self, "server", "job", {}, private)
        self.engine, self.abort_signal = self, Signal()

    # -- what a server's engine and a workspace are to the parts under test -----------------------

    def new_context(self) -> FLContext:
        return self.contexts.new_context()

    def get_clients(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.sites]

    def get_component(self, component_id: str) -> Any:
        return {"persistor": self.persistor, "controller": self}[component_id]

    def get_result_root(self, job_id: str) -> str:
        return str(self.folder)

    def get_workspace(self) -> Any:
        return self

    def fire_event(self, event_type: str, fl_ctx: FLContext) -> None:
        if event_type == EventType.FATAL_SYSTEM_ERROR:
            self.panics.append(fl_ctx.get_prop(FLContextKey.EVENT_DATA))
        fire_event_to_components(event_type, self.handlers, fl_ctx)

    def send_aux_request(
        self, targets: list[str], topic: str, request: Shareable, **_: Any
    ) -> dict[str, Shareable]:
        return {
            name: _wire(self.sites[name].asked(topic, self.aux(name, _wire(request))), self.seen)
            for name in targets
            if name not in self.dead
        }

    # -- the controller ---------------------------------------------------------------------------

    def play(self) -> Path:
        """Run the job; return where its checkpoint is."""
        with self.new_context() as self.fl_ctx:
            self.fire_event(EventType.START_RUN, self.fl_ctx)
            try:
                self.run()
                assert not self.panics, self.panics[0]
            except BaseException:
                self.fl_ctx.get_run_abort_signal().trigger(True)
                raise
            finally:
                self.fire_event(EventType.ABOUT_TO_END_RUN, self.fl_ctx)
            assert not self.panics, self.panics[0]
        return self.folder / "models" / "checkpoint.privfed"

    def send_model(
        self, task_name: str, targets: list[str], data: FLModel, callback: Any, **_: Any
    ) -> None:
        task = self._build_shareable(data)
        for name in targets:
            if name in self.dead:
                continue
            try:
                result = self.sites[name].done(task_name, self.to_site(name, _wire(task)))
            except Killed:
                self.dead.add(name)
                continue
            result = self.from_site(name, _wire(result, self.seen))
            if result.get_return_code() != ReturnCode.OK:
                raise AssertionError(f"{name}: {result.get_return_code()}")  # NVFlare ends the job
            model = FLModelUtils.from_shareable(result)
            model.meta["client_name"] = name
            try:
                callback(model)
            except Exception as error:
                self.error(f"Unsuccessful callback {error}")  # as BaseModelController does

    def get_num_standing_tasks(self) -> int:
        return 0

    def event(self, event_type: str) -> None:
        self.fire_event(event_type, self.fl_ctx)


class Killed(BaseException):
    """A client's process that ends."""


def encrypted_sites(
    names: Sequence[str], scripts: Sequence[Script], run: str = "job"
) -> list[Site]:
    """Return sites with the two filters, each with a script."""
    return [
        Site(name, script, [DecryptModel()], [EncryptModel()], run)
        for name, script in zip(names, scripts, strict=True)
    ]


def data_of(shareable: Shareable) -> dict[str, Any]:
    """Return the arrays of a task or a result."""
    return cast("dict[str, Any]", from_shareable(shareable).data)


def with_data(shareable: Shareable, data: dict[str, Any]) -> Shareable:
    """Return a task or a result with other arrays."""
    found = from_shareable(shareable)
    return DXO(DataKind.WEIGHTS, data=data, meta=found.meta).update_shareable(shareable)


def _wire(message: Shareable, seen: list[bytes] | None = None) -> Shareable:
    """Return what arrives of a message."""
    data = fobs.dumps(message)
    if seen is not None:
        seen.append(bytes(data))
    arrived = fobs.loads(data)
    assert isinstance(arrived, Shareable)
    arrived.set_header(ReservedHeaderKey.RC, message.get_return_code())
    return arrived
