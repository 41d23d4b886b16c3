"""What travels in Flower's records: questions, answers, totals and uploads, as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from numpy.typing import NDArray

from privfed.errors import ConfigError, DecodeError

ASK, TOTALS = "privfed", "privfed.totals"
UPLOAD, RESULT = "privfed.upload/1", "privfed.result/1"
CHECKPOINT = "privfed.checkpoint/1"
_MESSAGE = "message"


def bytes_array(data: bytes) -> Array:
    """Return bytes as an array: what Flower stores, sends and saves."""
    return Array(np.frombuffer(data, np.uint8))


def array_bytes(array: Array) -> bytes:
    """Return the bytes of `bytes_array`.

    Raises:
        DecodeError: It is none: something on the way took it for numbers.
    """
    try:
        values = _numbers(array)
    except ValueError:
        raise DecodeError("an array is none that numpy wrote") from None
    if values.dtype != np.uint8 or values.ndim != 1:
        raise DecodeError(
            "an array of bytes has become one of numbers: privfed's mod is the first in its "
            "ClientApp, others come after it"
        )
    return values.tobytes()


def _numbers(array: Array) -> NDArray[Any]:
    if not array.data.startswith(b"\x93NUMPY"):  # else numpy.load looks for archives
        raise ValueError
    try:
        return array.numpy()
    except Exception:  # of ten kinds, where a header is not one
        raise ValueError from None


def put_message(content: RecordDict, message: bytes) -> None:
    """Put a question or an answer into a message's content."""
    content[ASK] = ConfigRecord({_MESSAGE: message})


def message_in(content: RecordDict) -> bytes | None:
    """Return the question or the answer in a message's content; None if there is none."""
    record = content.config_records.get(ASK)
    found = None if record is None else record.get(_MESSAGE)
    return found if isinstance(found, bytes) else None


def settings_in(message: Message, run_config: Mapping[str, Any]) -> bytes:
    """Return what stands for all that a server asks an application: its kind, and all settings.

    Those of the run are the server's, too: a SuperNode gets them from the SuperLink.
    """
    content = message.content
    said = {name: dict(each) for name, each in content.config_records.items() if name != ASK}
    figures = {name: dict(each) for name, each in content.metric_records.items()}
    asked = (message.metadata.message_type, said, figures, dict(run_config))
    return hashlib.sha256(
        b"privfed/1/settings\x00" + msgspec.msgpack.encode(asked, order="deterministic")
    ).digest()


def put_totals(content: RecordDict, totals: Iterable[bytes]) -> None:
    """Put totals into a message's content, in their order."""
    arrays = {str(place): bytes_array(each) for place, each in enumerate(totals)}
    if arrays:
        content[TOTALS] = ArrayRecord(arrays)


def totals_in(content: RecordDict) -> list[bytes]:
    """Return the totals in a message's content."""
    record = content.array_records.get(TOTALS)
    return [] if record is None else [array_bytes(each) for each in record.values()]


def record_of(arrays: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Return arrays as a record."""
    return ArrayRecord({name: Array(np.asarray(each, order="C")) for name, each in arrays.items()})


def arrays_of(record: ArrayRecord) -> dict[str, NDArray[Any]]:
    """Return a record's arrays.

    Raises:
        ConfigError: One is none that numpy can hold.
    """
    try:
        return {name: _numbers(each) for name, each in record.items()}
    except ValueError:
        raise ConfigError("an array of the model is none that numpy can hold") from None


def checkpoint_in(record: ArrayRecord) -> bytes | None:
    """Return the checkpoint of an encrypted run that a record is; None for a model."""
    return array_bytes(record[CHECKPOINT]) if list(record) == [CHECKPOINT] else None
