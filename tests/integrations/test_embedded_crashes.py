"""A party's process that is killed at any call of the operating system goes on afterwards."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from privfed.errors import QuorumError, ReplayError
from privfed.integrations.kept import digest_of_model
from privfed.integrations.messages import PastRound
from privfed.secagg import Aggregator
from tests.integrations.jobs import START, same_bits
from tests.integrations.server_in_hand import Hand
from tests.secagg import crash_points

Act = Callable[[], object]


@pytest.fixture(autouse=True)
def _files_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut where names change: what is not synced there is in tests/secagg/test_party_crashes.py."""
    monkeypatch.setattr(crash_points, "STEPS", ("link", "unlink", "replace", "mkdir"))


class _Cut(BaseException):
    """The process ends here."""


def killed_at(act: Act, at: int) -> bool:
    """Run `act` until its step `at`, as a process that is then gone; return whether it came."""

    def cut() -> None:
        raise _Cut

    steps = crash_points.Steps(at, cut)
    with steps, contextlib.suppress(_Cut):
        act()
    return steps.left <= crash_points.NONE_LEFT


def in_turn(folder: Path, prepare: Callable[[Path], tuple[Act, Act]], least: int) -> None:
    """Cut what `prepare` returns at each of its steps; the second act checks what then is."""
    for at in range(200):
        act, check = prepare(folder / str(at))
        reached = killed_at(act, at)
        check()
        shutil.rmtree(folder / str(at))
        if not reached:
            assert at >= least
            return
    raise AssertionError("it never ends")


def test_killed_while_it_begins_or_trains(tmp_path: Path) -> None:
    """From the hello to the first upload; the server says the same again, if it heard nothing."""

    def prepare(folder: Path) -> tuple[Act, Act]:
        hand = Hand(folder / "keys", 2)
        hand.greet(1, digest_of_model(START))

        def act() -> None:
            hand.greet(0, digest_of_model(START), first=1)
            hand.ask(0, "train", 1, model=START, step=0.25)

        def check() -> None:
            hand.greet(0, digest_of_model(START), first=1)
            try:
                upload = hand.ask(0, "train", 1, model=START, step=0.25)[1]
                number = 1
            except ReplayError:  # the round was used up, and nothing of it was sent
                number = 2
                upload = hand.ask(0, "train", 2, model=START, step=0.25)[1]
            other = hand.ask(1, "train", number, model=START, step=0.75)[1]
            total = hand.total(number, [upload, other])
            models = [hand.ask(place, "evaluate", past=[total])[0] for place in hand.places]
            assert same_bits(*models)
            for name, each in START.items():
                assert abs(models[0][name] - each - 0.5).max() < 1e-3

        return act, check

    in_turn(tmp_path, prepare, 8)


def test_killed_while_it_opens_a_total(tmp_path: Path) -> None:
    """After opening, before the model is kept: the total changes the model once."""

    def prepare(folder: Path) -> tuple[Act, Act]:
        hand = Hand(folder / "keys", 2)
        hand.greet_all()
        total = hand.round(1, model=START)
        expected = hand.ask(1, "evaluate", past=[total])[0]

        def act() -> None:
            hand.ask(0, "evaluate", past=[total])

        def check() -> None:
            assert same_bits(hand.ask(0, "evaluate", past=[total])[0], expected)
            after = hand.round(2)
            models = [hand.ask(place, "evaluate", past=[after])[0] for place in hand.places]
            assert same_bits(*models)

        return act, check

    in_turn(tmp_path, prepare, 4)


def test_killed_while_it_enters_with_masks(tmp_path: Path) -> None:
    """The same hellos come again; others wait for nobody's second hello."""
    hand = Hand(tmp_path / "made" / "keys", 3)
    hand.greet_all()

    def prepare(folder: Path) -> tuple[Act, Act]:
        shutil.copytree(tmp_path / "made", folder)
        copy = Hand(folder / "keys", 3)
        copy.hellos = dict(hand.hellos)

        def act() -> None:
            copy.ask(0, "train", 1, model=START)

        def check() -> None:
            copy.greet(0, digest_of_model(START), first=1)
            assert copy.hellos[0] == hand.hellos[0]
            for number in (1, 2):
                with contextlib.suppress(ReplayError):
                    uploads = [copy.ask(0, "train", number, model=START)[1]]
                    break
            uploads += [copy.ask(place, "train", number, model=START)[1] for place in (1, 2)]
            assert copy.total(number, uploads)

        return act, check

    in_turn(tmp_path / "cut", prepare, 5)


def test_who_was_killed_and_lost_its_hello_breaks_the_round_alone(tmp_path: Path) -> None:
    """A party that says a second hello, of another key, is not masked with by mistake."""
    hand = Hand(tmp_path / "keys", 3)
    hand.greet_all()
    old = hand.hellos[0]
    hand.greet(0, b"x" * 32)
    hand.greet(0, digest_of_model(START))
    assert hand.hellos[0] != old
    with pytest.raises(ReplayError, match="earlier one of this party's"):
        hand.ask(0, "train", 1, model=START, hellos=[old, hand.hellos[1], hand.hellos[2]])
    with pytest.raises(QuorumError):
        hand.ask(1, "train", 1, model=START, hellos=[hand.hellos[1]])


@pytest.mark.parametrize("opens", [True, False], ids=["opener", "reader"])
def test_killed_while_some_open_for_all(tmp_path: Path, opens: bool) -> None:
    """It gets what others signed, in the place of the total, and has the model of all."""
    hand = Hand(tmp_path / "made" / "keys", 4, download="opener")
    hand.greet_all()
    together = Aggregator(hand.params, 1)
    for place in hand.places:
        together.add(hand.ask(place, "train", 1, model=START, step=0.25 * place)[1])
    total = PastRound(1), together.total()
    for place in (1, 2):
        together.add_result(hand.result(place, total))
    result = PastRound(1), together.result()
    expected = hand.ask(3, "evaluate", past=[result])[0]

    def prepare(folder: Path) -> tuple[Act, Act]:
        shutil.copytree(tmp_path / "made", folder)
        copy = Hand(folder / "keys", 4, download="opener")
        copy.hellos = hand.hellos

        def act() -> None:
            if opens:
                copy.result(0, total)
            else:
                copy.ask(0, "evaluate", past=[result])

        def check() -> None:
            assert same_bits(copy.ask(0, "evaluate", past=[result])[0], expected)
            uploads = [copy.ask(place, "train", 2)[1] for place in copy.places]
            assert copy.total(2, uploads)

        return act, check

    in_turn(tmp_path / "cut", prepare, 4)
