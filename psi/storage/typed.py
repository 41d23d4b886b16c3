"""JSON by its type: what the type does not know is refused, and the error names its place."""

from typing import Any, TypeVar

import msgspec

__all__ = ["json_as", "json_bytes", "json_read"]

Kind = TypeVar("Kind")


def json_bytes(value: Any, *, indent: int | None = None) -> bytes:
    """Return a value as JSON in UTF-8; a number that is not finite becomes null.

    Args:
        value: A `msgspec.Struct`, a dataclass, or what JSON has; of numpy's types only doubles.
        indent: Spaces per level; 0 puts all on one line, None leaves out spaces, too.

    Raises:
        TypeError: JSON cannot carry it.
    """
    text = msgspec.json.encode(value, enc_hook=_double)
    return text if indent is None else msgspec.json.format(text, indent=indent)


def json_read(data: bytes | str, kind: type[Kind]) -> Kind:
    """Return JSON as a type, whose `msgspec.Meta` say which numbers and texts are allowed.

    Args:
        data: The text.
        kind: The type; a `Struct` with `forbid_unknown_fields` accepts no other fields.

    Returns:
        The value, of that type.

    Raises:
        ValueError: It is no JSON, or not of that type; the message names the field.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise ValueError(str(error)) from None


def json_as(value: Any, kind: type[Kind], where: str) -> Kind:
    """Return what a JSON reader returned as a type, as `json_read` does.

    Args:
        value: What the reader returned.
        kind: The type.
        where: What to call the value in a message, such as "results".

    Raises:
        ValueError: It is not of that type; the message names the field, as in "results.runs[3]".
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, place = str(error).rpartition(" - at `$")
        raise ValueError(f"{where}{place[:-1]}: {what}" if what else f"{where}: {error}") from None


def _double(value: Any) -> float:
    if isinstance(value, float):  # numpy's float64 is Python's float as well
        return float(value)
    raise TypeError(f"JSON cannot carry a {type(value).__name__}")
