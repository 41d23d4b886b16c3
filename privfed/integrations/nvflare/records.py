"""What travels in NVFlare's messages: questions, answers, totals and uploads, as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_reply

from privfed.errors import ConfigError, DecodeError

TOPIC = "privfed"
CHECKPOINT, UPLOAD = "privfed.checkpoint/1", "privfed.upload/1"
ANSWER = "privfed"
"""Name of an answer in the metadata of a training's result."""

_MESSAGE, _TOTALS, _INITIAL, _RESULT = "message", "totals", "initial", "result"


def bytes_array(data: bytes) -> NDArray[np.uint8]:
    """Return bytes as an array: what NVFlare streams, and persistors save."""
    return np.frombuffer(data, np.uint8)


def array_bytes(values: object) -> bytes:
    """Return the bytes of `bytes_array`.

    Raises:
        DecodeError: It is none: something on the way took it for numbers.
    """
    if not isinstance(values, np.ndarray) or values.dtype != np.uint8 or values.ndim != 1:
        raise DecodeError(
            "an array of bytes has become something else: DecryptModel is the first of a client's "
            "input filters, EncryptModel the last of its output filters"
        )
    return values.tobytes()


def arrays_of(params: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return a model's arrays.

    Raises:
        ConfigError: One is none of numpy's.
    """
    for name, values in params.items():
        if not isinstance(values, np.ndarray | np.generic):
            raise ConfigError(
                f"array {name!r} is a {type(values).__name__}, none of numpy's: leave the recipe's "
                "server_expected_format at ExchangeFormat.NUMPY"
            )
    return {str(name): np.asarray(values) for name, values in params.items()}


def checkpoint_in(params: Mapping[str, Any]) -> bytes | None:
    """Return the checkpoint of an encrypted run that a model is; None for a model."""
    return array_bytes(params[CHECKPOINT]) if list(params) == [CHECKPOINT] else None


def request_of(
    ask: bytes, totals: Iterable[bytes], initial: Mapping[str, NDArray[Any]] | None = None
) -> Shareable:
    """Return a question, with the totals and the initial model that go along."""
    request = Shareable()
    request[_MESSAGE] = ask
    request[_TOTALS] = [bytes_array(each) for each in totals]
    if initial is not None:
        request[_INITIAL] = dict(initial)
    return request


def read_request(
    request: Shareable,
) -> tuple[bytes, list[bytes], dict[str, NDArray[Any]] | None]:
    """Return the question, the totals, and the initial model if it goes along.

    Raises:
        DecodeError: It holds something else.
        ConfigError: An array of the model is none of numpy's.
    """
    ask, totals, initial = (request.get(name) for name in (_MESSAGE, _TOTALS, _INITIAL))
    if not isinstance(ask, bytes) or not isinstance(totals, list):
        raise DecodeError("this is no question of EncryptedAggregator: install the same privfed")
    if initial is not None and not isinstance(initial, dict):
        raise DecodeError("this is no model: install the same privfed at all")
    model = None if initial is None else arrays_of(initial)
    return ask, [array_bytes(each) for each in totals], model


def reply_of(answer: bytes, result: bytes = b"") -> Shareable:
    """Return an answer, with the RESULT of a round where one was asked for."""
    reply = make_reply(ReturnCode.OK)
    reply[_MESSAGE] = answer
    if result:
        reply[_RESULT] = bytes_array(result)
    return reply


def answer_in(reply: object) -> bytes | None:
    """Return the answer; None if it did not come, or not yet."""
    if not isinstance(reply, Shareable) or reply.get_return_code() != ReturnCode.OK:
        return None
    found = reply.get(_MESSAGE)
    return found if isinstance(found, bytes) else None


def result_in(reply: object) -> bytes:
    """Return the RESULT beside an answer; empty if there is none: the next one is asked."""
    found = reply.get(_RESULT) if isinstance(reply, Shareable) else None
    with suppress(DecodeError):
        return array_bytes(found)
    return b""
