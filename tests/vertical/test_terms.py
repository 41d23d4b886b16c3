"""What is compared before a training begins: choices, roles, and the shapes of both blocks."""

from __future__ import annotations

from typing import Any

import pytest

from privfed.errors import ConfigError, ContextMismatchError, DecodeError
from privfed.vertical.linear.terms import BlockShape, LinearChoice
from privfed.vertical.shapes import GuestShapes, HostShapes
from psi.errors import ParameterMismatchError, StateError, TranscriptError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "poisson"}, "family=poisson"),
        ({"penalty": 0.5}, "penalty=0.5"),
        ({"iterations": 3}, "iterations=3"),
        ({"coefficients": "shared"}, "coefficients=shared"),
        ({"least_rows": 1}, "least_rows=1"),
        ({"predictions": 7}, "predictions=7"),
        ({"test_percent": 0}, "test_percent=0"),
        ({"opened": "class"}, "opened=class"),
    ],
)
def test_the_side_that_chose_otherwise_is_told_which(change: dict[str, Any], words: str) -> None:
    own = LinearChoice().terms("align", guest_listens=True)
    theirs = LinearChoice(**change).terms("align", guest_listens=True)
    own.check(own.encode())
    with pytest.raises(ParameterMismatchError, match=words):
        own.check(theirs.encode())


def test_two_guests_do_not_agree() -> None:
    listens, connects = (LinearChoice().terms("align", guest_listens=at) for at in (True, False))
    with pytest.raises(ParameterMismatchError, match="guest=connects"):
        listens.check(connects.encode())


def test_one_that_goes_on_and_one_that_begins_do_not_agree() -> None:
    begins, goes_on = (
        LinearChoice().terms(stage, guest_listens=True, resume=stage == "train")
        for stage in ("align", "train")
    )
    with pytest.raises(ParameterMismatchError, match="chose resume=True, this side False"):
        begins.check(goes_on.encode())
    with pytest.raises(ParameterMismatchError, match="chose resume=False, this side True"):
        goes_on.check(begins.encode())


def test_every_training_has_a_name_of_its_own() -> None:
    shapes = BlockShape(90, 3, 4), BlockShape(90, 5, 2)
    names = []
    for _ in range(2):
        one, other = told(*shapes)
        assert one.mark == other.mark
        names.append(one.mark)
    assert names[0] != names[1]
    with pytest.raises(StateError):
        _ = GuestShapes(shapes[0], BlockShape).mark


@pytest.mark.parametrize(
    "change", [{"penalty": 2.0}, {"iterations": 0}, {"test_percent": 91}, {"family": "none"}]
)
def test_choices_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        LinearChoice(**change).terms("align", guest_listens=True)


def told(
    guest: BlockShape, host: BlockShape
) -> tuple[GuestShapes[BlockShape], HostShapes[BlockShape]]:
    one, other = GuestShapes(guest, BlockShape), HostShapes(host, BlockShape)
    assert other.start() is None
    message = one.start()
    assert message is not None
    answer = other.receive(message)
    assert answer is not None
    assert one.receive(answer) is None
    return one, other


def test_each_side_is_told_the_others_shape() -> None:
    guest, host = BlockShape(90, 3, 4), BlockShape(90, 5, 2)
    one, other = told(guest, host)
    assert one.theirs == host
    assert other.theirs == guest
    assert one.done
    assert other.done


@pytest.mark.parametrize(
    ("theirs", "error", "words"),
    [
        (BlockShape(91, 3, 4), ContextMismatchError, "91 common rows, this side on 90"),
        (BlockShape(90, 3, 5), DecodeError, "columns that cannot be"),
        (BlockShape(90, 3, 0), DecodeError, "columns that cannot be"),
        (BlockShape(90, 1 << 14, 4), DecodeError, "columns that cannot be"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(
    theirs: BlockShape, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        told(theirs, BlockShape(90, 5, 2))


def test_a_touched_shape_ends_the_telling() -> None:
    one, other = (
        GuestShapes(BlockShape(90, 3, 4), BlockShape),
        HostShapes(BlockShape(90, 5, 2), BlockShape),
    )
    message = one.start()
    assert message is not None
    with pytest.raises(TranscriptError):
        other.receive(message[:-1] + bytes([message[-1] ^ 1]))
    with pytest.raises(StateError):
        _ = other.theirs
