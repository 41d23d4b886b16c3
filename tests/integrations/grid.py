"""Flower's grid in one process: messages go through their wire format, and clients may die."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 7

Change = Callable[[int, Message], Message | None]
"""What a hostile server does to a message for a node: another one, or none."""


class OneProcessGrid(Grid):
    """Nodes 100, 101, …, each with its application and configuration.

    Args:
        apps: One a node.
        configs: Each node's configuration.
    """

    def __init__(
        self, apps: Sequence[ClientApp], configs: Sequence[dict[str, Any]], run_id: int = RUN_ID
    ) -> None:
        self.apps = {100 + place: app for place, app in enumerate(apps)}
        self.configs, self.run_id = configs, run_id
        self.new_run(run_id)
        self.dead: set[int] = set()
        self.seen: list[tuple[int, bytes]] = []  # all that the server reads
        self.sent: list[tuple[int, bytes]] = []
        self.to_node: Change = lambda node, message: message
        self.from_node: Change = lambda node, message: message
        self._replies: dict[str, Message] = {}
        self._count = 0
        TaskIdentity.node_id, TaskIdentity.task_id = 1, 1

    def new_run(self, run_id: int, config: dict[str, Any] | None = None) -> None:
        """Begin a run of whoever submits it, with its configuration; nodes keep theirs."""
        self.run_id = TaskIdentity.run_id = run_id
        self.contexts = {
            node: Context(run_id, node, settings, RecordDict(), config or {})
            for node, settings in zip(self.apps, self.configs, strict=True)
        }

    def set_run(self, run: Any) -> None:
        """Do nothing."""

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.apps)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pushed = []
        for message in list(messages):
            self._count += 1
            name = str(self._count)
            pushed.append(name)
            reply = self.delivered(message, name)
            if reply is not None:
                self._replies[name] = reply
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(name) for name in message_ids if name in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        messages = list(messages)
        assert list(messages) == messages  # the HTTP grid iterates twice
        return self.pull_messages(self.push_messages(messages))

    def delivered(self, message: Message, name: str) -> Message | None:
        node = message.metadata.dst_node_id
        message.metadata.__dict__.update(_message_id=name, _run_id=self.run_id, _src_node_id=1)
        self.sent.append((node, _wire(message)))
        changed = self.to_node(node, _again(message))
        if changed is None or node in self.dead:
            return None
        try:
            reply = self.apps[node](changed, self.contexts[node])
        except _Killed:
            self.dead.add(node)
            return None
        except Exception as error:
            reason = str(type(error)) + ":<'" + str(error) + "'>"
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=changed)
        reply.metadata.__dict__.update(_message_id=f"{name}r", _src_node_id=node)
        self.seen.append((node, _wire(reply)))
        return self.from_node(node, _again(reply))


class _Killed(BaseException):
    """A process that ends."""


def kill() -> None:
    """End the client's process: nothing is answered, now or later."""
    raise _Killed


def _wire(message: Message) -> bytes:
    return bytes(message_to_proto(message).SerializeToString())


def _again(message: Message) -> Message:
    """Return what arrives of a message."""
    return message_from_proto(message_to_proto(message))
