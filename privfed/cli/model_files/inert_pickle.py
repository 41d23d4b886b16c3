"""What a pickle of torch.save holds, without running it.

A pickle is a program for a small machine, which may call any function by its name. This one has
but the instructions that arrays in dicts, lists and tuples need, and calls nothing: a name stands
for a few known things of torch or is refused, as in `torch.load(weights_only=True)`. Steps and
bytes are bounded, and nothing is made larger than what the file itself holds.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from privfed.errors import ConfigError

MOST_BYTES = 1 << 24
MOST_STEPS = 2_000_000  # of more than 50,000 arrays; a step may make 64 bytes
_MOST_AT_ONCE = 64  # sides of a tensor, and arguments of a call: a step may be repeated on them

_DAMAGED = "the file's pickle is damaged, or no torch.save made it: save it again"
_PLAIN = (str, int, float, bytes, bool, type(None))


@dataclass(frozen=True)
class Tensor:
    """What is known of a tensor: all but its values.

    Attributes:
        kind: Torch's name of its type, such as "float32".
        shape: Its sides, as the pickle gives them.
    """

    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _OtherKey:
    """A dict's key that is no text. Numbers can be chosen of one hash, and take for ever then."""

    value: object

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True)
class _Known:
    """A thing of torch that a pickle may name."""

    name: str


_STORAGES = {
    **{"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16"},
    **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8"},
    **{"Bool": "bool", "ComplexFloat": "complex64", "ComplexDouble": "complex128"},
}
_WHY = {
    "_rebuild_sparse_tensor": "a sparse tensor: save its to_dense()",
    "_rebuild_qtensor": "a quantised tensor: save its dequantize()",
    "_rebuild_meta_tensor_no_storage": "a tensor on the meta device, without values: save the "
    "model with its weights",
    "_rebuild_nested_tensor": "a nested tensor: save its parts",
}


def _sides(size: object) -> tuple[int, ...]:
    if not all(type(side) is int for side in _few(size)):
        raise ConfigError(_DAMAGED)
    return _few(size)


def _of_storage(storage: object, _offset: object, size: object, *_rest: object) -> Tensor:
    return Tensor(_kind(storage), _sides(size))


def _of_type(
    _storage: object, _offset: object, size: object, _stride: object, _grad: object,
    _hooks: object, kind: object, *_rest: object,
) -> Tensor:  # fmt: skip
    return Tensor(_kind(kind), _sides(size))


def _parameter(tensor: object, *_rest: object) -> object:
    return tensor


def _of_class(function: object, _class: object, arguments: object, _state: object) -> object:
    if isinstance(function, _Known) and _CALLED.get(function.name) is _of_class:
        raise ConfigError(_DAMAGED)  # torch does so once; of many, each step would go through all
    return _called(function, arguments)


def _nothing(*_arguments: object) -> None:
    return None


_CALLED: dict[str, Callable[..., object]] = {
    "collections OrderedDict": lambda: {},
    "torch Size": _sides,
    "torch device": _nothing,
    "torch._utils _rebuild_tensor": _of_storage,
    "torch._utils _rebuild_tensor_v2": _of_storage,
    "torch._utils _rebuild_tensor_v3": _of_type,
    "torch._utils _rebuild_parameter": _parameter,
    "torch._utils _rebuild_parameter_with_state": _parameter,
    "torch._tensor _rebuild_from_type_v2": _of_class,
}
_KINDS = {
    **{f"torch {name}Storage": kind for name, kind in _STORAGES.items()},
    **{f"torch {kind}": kind for kind in {*_STORAGES.values(), "complex32"}},
    **{f"torch uint{bits}": f"uint{bits}" for bits in (16, 32, 64)},
    **{
        f"torch float8_{kind}": f"float8_{kind}"
        for kind in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0fnu")
    },
}
_NAMED = {"torch.storage UntypedStorage", "torch Tensor", "torch.nn.parameter Parameter"}


def held(pickle: bytes) -> object:
    """Return what a pickle of torch.save holds: dicts, lists, tuples, plain values, `Tensor`s.

    Raises:
        ConfigError: It names something else, is too long, or is damaged.
    """
    machine = _Machine()
    try:
        for steps, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
            if steps >= MOST_STEPS:
                raise ConfigError("the file holds more than 50,000 arrays: save fewer")
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    except ConfigError:
        raise
    # IndexError, KeyError: of the stack and of the memo; OverflowError, UnicodeError: of genops.
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError):
        raise ConfigError(_DAMAGED) from None
    raise ConfigError(_DAMAGED)


class _Machine:
    """The machine's stack, what lies below each mark, and what was kept by number."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _MADE:
            self.stack.append(_MADE[name]())
        elif name in _FEW:
            count = _FEW[name]
            items = [self.stack.pop() for _ in range(count)]
            self.stack.append(tuple(reversed(items)))
        elif name not in _IGNORED:
            _DONE.get(name, _Machine._unknown)(self, argument)

    def _unknown(self, _: object) -> NoReturn:
        raise ConfigError(
            "the file's pickle does more than a state_dict needs, and none of it was run: save "
            "model.state_dict() by torch.save"
        )

    def _mark(self, _: object) -> None:
        self._below.append(self.stack)
        self.stack = []

    def _from_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _tuple(self, _: object) -> None:
        items = self._from_mark()
        self.stack.append(tuple(items))

    def _keep(self, number: int) -> None:
        self._memo[number] = self.stack[-1]

    def _keep_next(self, _: object) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def _get(self, number: int) -> None:
        self.stack.append(self._memo[number])

    def _append(self, _: object) -> None:
        item = self.stack.pop()
        _list(self.stack[-1]).append(item)

    def _extend(self, _: object) -> None:
        items = self._from_mark()
        _list(self.stack[-1]).extend(items)

    def _set(self, _: object) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _put(self.stack[-1], key, value)

    def _update(self, _: object) -> None:
        items = self._from_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            _put(self.stack[-1], key, value)

    def _name(self, dotted: str) -> None:
        self.stack.append(_known(dotted))

    def _name_of_stack(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_known(f"{_text(module)} {_text(name)}"))

    def _call(self, _: object) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(_called(function, arguments))

    def _storage(self, _: object) -> None:
        what, kind, *_ = _few(self.stack.pop())
        if what != "storage":
            raise ConfigError(_DAMAGED)
        self.stack.append(kind)

    def _state(self, _: object) -> None:  # of a dict: torch's versions of modules
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise ConfigError(_DAMAGED)


_VALUES = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
    }
)
_MADE: dict[str, Callable[[], object]] = {
    **{"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict},
    **{"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False},
}
_FEW = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset({"PROTO", "FRAME"})
_DONE: dict[str, Callable[[_Machine, Any], None]] = {
    name: getattr(_Machine, f"_{method}")
    for name, method in (
        *(("MARK", "mark"), ("TUPLE", "tuple"), ("BUILD", "state"), ("BINPERSID", "storage")),
        *(("BINPUT", "keep"), ("LONG_BINPUT", "keep"), ("MEMOIZE", "keep_next")),
        *(("BINGET", "get"), ("LONG_BINGET", "get"), ("APPEND", "append"), ("APPENDS", "extend")),
        *(("SETITEM", "set"), ("SETITEMS", "update"), ("REDUCE", "call")),
        *(("GLOBAL", "name"), ("STACK_GLOBAL", "name_of_stack")),
    )
}


def _known(dotted: str) -> _Known:
    if dotted in _CALLED or dotted in _KINDS or dotted in _NAMED:
        return _Known(dotted)
    if (why := _WHY.get(dotted.removeprefix("torch._utils "))) is not None:
        raise ConfigError(f"the file holds {why}")
    raise ConfigError(
        f"the file asks for {dotted.replace(' ', '.')!r:.80}, which a state_dict has no need of, "
        "and nothing of it was run: save model.state_dict() by torch.save"
    )


def _called(function: object, arguments: object) -> object:
    if not isinstance(function, _Known):
        raise ConfigError(_DAMAGED)
    return _CALLED[function.name](*_few(arguments))


def _kind(known: object) -> str:
    if not isinstance(known, _Known):
        raise ConfigError(_DAMAGED)
    return _KINDS[known.name]


def _few(value: object) -> tuple[Any, ...]:
    if not isinstance(value, tuple) or len(value) > _MOST_AT_ONCE:
        raise ConfigError(_DAMAGED)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(_DAMAGED)
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(_DAMAGED)
    return value


def _put(where: object, key: object, value: object) -> None:
    # The hash of tuples in tuples can take for ever.
    if not isinstance(where, dict) or not isinstance(key, _PLAIN):
        raise ConfigError(_DAMAGED)
    where[key if isinstance(key, str) else _OtherKey(key)] = value
