"""A server that shows parties different models: how it reads single updates out of sums.

Pasquini, Francati, Ateniese, Eluding Secure Aggregation in Federated Learning via Model
Inconsistency, CCS 2022 (arXiv 2111.07380). Each attack works on a planted fault, and fails here.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from privfed.errors import (
    AuthenticationError,
    ConfigError,
    ContextMismatchError,
    PrivFedError,
    QuorumError,
    ReplayError,
)
from privfed.integrations import hello as hellos
from privfed.integrations import party as parties
from privfed.integrations.kept import Shelf, digest_of_model
from privfed.integrations.messages import Assignment, PastRound
from privfed.secagg import Keyring, Party
from privfed.secagg.opening import Holder
from tests.integrations.jobs import START, Arrays, same_bits
from tests.integrations.server_in_hand import RUN, Hand

OTHER: Arrays = {name: each * 0 - 1 for name, each in START.items()}  # all units are dead
Attack = Callable[[Hand], bool]
"""Returns whether two parties end up with uploads, from different models, that add."""

Plant = Callable[[pytest.MonkeyPatch], None]


def _differ(hand: Hand, number: int, seen: list[tuple[Arrays, bytes]]) -> bool:
    """Whether all uploads make a total, though they were trained on different models."""
    hand.total(number, [upload for _, upload in seen])
    return not all(same_bits(seen[0][0], model) for model, _ in seen)


def two_initial_models(hand: Hand) -> bool:
    """One party is promised and sent another initial model than the others."""
    for place in hand.places:
        hand.greet(place, digest_of_model(OTHER if place else START))
    return _differ(
        hand,
        1,
        [hand.ask(place, "train", 1, model=OTHER if place else START) for place in hand.places],
    )


def another_than_promised(hand: Hand) -> bool:
    """All are promised one model, and one party is sent another."""
    hand.greet_all(START)
    return _differ(
        hand,
        1,
        [hand.ask(place, "train", 1, model=START if place else OTHER) for place in hand.places],
    )


def _after_a_run(hand: Hand) -> tuple[PastRound, bytes]:
    hand.greet_all(START)
    total = hand.round(1, model=START)
    for place in hand.places:
        hand.ask(place, "evaluate", past=[total])
    return total


def model_left_out(hand: Hand) -> bool:
    """After a run, one party of the next one is not sent its initial model: it has the last."""
    _after_a_run(hand)
    for place in hand.places:
        hand.greet(place, digest_of_model(OTHER), run="next")
    return _differ(
        hand,
        2,
        [
            hand.ask(place, "train", 2, model=OTHER if place else None, run="next")
            for place in hand.places
        ],
    )


def looked_at_before_resuming(hand: Hand) -> bool:
    """A party alone is shown a model in a run of its own; then all resume from their models."""
    total = _after_a_run(hand)
    hand.greet(0, digest_of_model(OTHER), run="alone")
    with contextlib.suppress(PrivFedError):
        hand.ask(0, "evaluate", model=OTHER, run="alone", hellos=[])
    for place in hand.places:
        hand.greet(place, b"c" * 32, [total], run="next")
    return _differ(hand, 2, [hand.ask(place, "train", 2, run="next") for place in hand.places])


def model_in_a_run_that_resumes(hand: Hand) -> bool:
    """All resume from what is a model's digest, and one party is sent that model."""
    total = _after_a_run(hand)
    for place in hand.places:
        hand.greet(place, digest_of_model(OTHER), [total], run="next")
    return _differ(
        hand,
        2,
        [
            hand.ask(place, "train", 2, model=None if place else OTHER, run="next")
            for place in hand.places
        ],
    )


def one_resumes_and_others_begin(hand: Hand) -> bool:
    """One party resumes, the others begin with a model; what the run starts from is one digest."""
    total = _after_a_run(hand)
    for place in hand.places:
        hand.greet(place, digest_of_model(OTHER), [] if place else [total], run="next")
    return _differ(
        hand,
        2,
        [
            hand.ask(place, "train", 2, model=OTHER if place else None, run="next")
            for place in hand.places
        ],
    )


def initial_model_again(hand: Hand) -> bool:
    """In the middle of a run one party gets the initial model once more."""
    hand.greet_all(START)
    total = hand.round(1, model=START)
    return _differ(
        hand,
        2,
        [
            hand.ask(place, "train", 2, model=None if place else START, past=[total])
            for place in hand.places
        ],
    )


def two_totals(hand: Hand) -> bool:
    """Two groups' parties are shown totals of other groups; both go on."""
    hand.greet_all(START)
    uploads = [hand.ask(place, "train", 1, model=START, step=place)[1] for place in hand.places]
    one, other = hand.total(1, uploads[:3]), hand.total(1, uploads[3:])
    return _differ(
        hand,
        2,
        [hand.ask(place, "train", 2, past=[one if place < 3 else other]) for place in hand.places],
    )


def trained_in_another_run(hand: Hand, between: Sequence[str] = (), then: str = "two") -> bool:
    """One party trains in a run, enters another one meanwhile, and then sends what it trained."""
    hand.greet_all()
    ask = Assignment("train", 1, None, (), tuple(hand.hellos.values()))
    with hand.party(0) as party:
        got, given = party.receive(ask, START, []), party.given
    for run in between:
        hand.greet_all(run=run)
    hand.greet_all(OTHER, run=then)
    said = Assignment("train", 1, None, (), tuple(hand.hellos.values()))
    with hand.party(0, then) as party:
        party.receive(said, OTHER, [])
    seen = [hand.ask(place, "train", 1, model=OTHER, run=then) for place in (1, 2)]
    with hand.party(0) as party:  # another process than the one that received, as in NVFlare
        return _differ(hand, 1, [(got, party.upload(ask, got, None, given=given)), *seen])


def trained_before_a_run_of_its_name(hand: Hand) -> bool:
    """The same within one name, since a party knows of no run but its last."""
    return trained_in_another_run(hand, between=["between"], then=RUN)


def unchecked_hellos(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hellos, "check_alike", lambda params, found: None)


def unchecked_digest(patch: pytest.MonkeyPatch) -> None:
    real = vars(parties.EmbeddedParty)["_begin"]

    def begin(self: Any, course: Any, arrays: Any) -> Any:
        promised = msgspec.structs.replace(course, start=digest_of_model(arrays))
        return real(self, promised, arrays)

    patch.setattr(parties.EmbeddedParty, "_begin", begin)


def unchecked_begin(patch: pytest.MonkeyPatch) -> None:
    """As before a run had to begin with a model that came."""
    real = vars(parties.EmbeddedParty)["_course"]

    def course(self: Any) -> Any:
        return msgspec.structs.replace(real(self), begun=True)

    def begin(self: Any, course: Any, arrays: Any) -> Any:
        course = msgspec.structs.replace(course, begun=False, resumes=False)
        return real_begin(self, course, arrays)

    real_begin = vars(parties.EmbeddedParty)["_begin"]
    patch.setattr(parties.EmbeddedParty, "_course", course)
    patch.setattr(parties.EmbeddedParty, "_begin", begin)


def unchecked_look(patch: pytest.MonkeyPatch) -> None:
    """As before hellos were asked for a look at a model, and resumed models were compared."""
    real = vars(parties.EmbeddedParty)["_enter"]

    def enter(self: Any, course: Any, ask: Any) -> Any:
        return real(self, course, ask) if ask.purpose == "train" else course

    def keep_initial(self: Any, model: Any) -> None:  # in the place of the last one
        real_keep(self, model)
        self.keep_model(model)

    real_keep = Shelf.keep_initial
    patch.setattr(Shelf, "keep_initial", keep_initial)
    patch.setattr(parties.EmbeddedParty, "_enter", enter)
    patch.delitem(vars(hellos)["_ALIKE"], "model")


def unchecked_resuming(patch: pytest.MonkeyPatch) -> None:
    """As before it was signed which of the two a run does."""
    unchecked_begin(patch)
    patch.delitem(vars(hellos)["_ALIKE"], "model")


def unchecked_middle(patch: pytest.MonkeyPatch) -> None:
    """The initial model is taken whenever it comes, after the totals."""
    real = parties.EmbeddedParty.receive

    def receive(self: Any, ask: Any, arrays: Any, totals: Any) -> Any:
        model = real(self, ask, arrays, totals)
        if arrays is not None and ask.purpose == "train":
            shelf = vars(self)["_shelf"]
            stored = shelf.model() or shelf.initial()
            shelf.keep_model(type(stored).of(arrays, stored.round_id, stored.kinds))
            return self.model()
        return model

    patch.setattr(parties.EmbeddedParty, "receive", receive)


def unchained(patch: pytest.MonkeyPatch) -> None:
    """Uploads that name no history, masked for none."""
    patch.setattr(Holder, "histories", property(lambda self: None))
    patch.setattr(Party, "_previous", property(lambda self: b""))


def unchecked_upload(patch: pytest.MonkeyPatch) -> None:
    """As before an upload had to be of the model that was given for it, in its run."""
    patch.setattr(parties.EmbeddedParty, "_stand", lambda self: b"given")


ATTACKS: list[tuple[Attack, Plant, int]] = [
    (two_initial_models, unchecked_hellos, 3),
    (another_than_promised, unchecked_digest, 3),
    (model_left_out, unchecked_begin, 3),
    (looked_at_before_resuming, unchecked_look, 3),
    (model_in_a_run_that_resumes, unchecked_resuming, 3),
    (one_resumes_and_others_begin, unchecked_resuming, 3),
    (initial_model_again, unchecked_middle, 3),
    (two_totals, unchained, 6),
    (trained_in_another_run, unchecked_upload, 3),
    (trained_before_a_run_of_its_name, unchecked_upload, 3),
]
NAMES = [attack.__name__ for attack, _, _ in ATTACKS]


@pytest.mark.parametrize(("attack", "plant", "count"), ATTACKS, ids=NAMES)
def test_the_attack_works_on_the_planted_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: Attack, plant: Plant, count: int
) -> None:
    plant(monkeypatch)
    assert attack(Hand(tmp_path / "keys", count))


@pytest.mark.parametrize(("attack", "plant", "count"), ATTACKS, ids=NAMES)
def test_parties_never_add_what_they_trained_on_different_models(
    tmp_path: Path, attack: Attack, plant: Plant, count: int
) -> None:
    try:
        worked = attack(Hand(tmp_path / "keys", count))
    except (AuthenticationError, ContextMismatchError, QuorumError, ReplayError):
        worked = False
    assert not worked


def test_a_model_of_the_servers_own_is_not_even_evaluated(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "keys")
    _after_a_run(hand)
    hand.greet(0, digest_of_model(OTHER), run="next")
    for said in ([], [hand.hellos[0]], list(hand.hellos.values())):
        with pytest.raises((QuorumError, ContextMismatchError)):
            hand.ask(0, "evaluate", model=OTHER, run="next", hellos=said)
    with pytest.raises(ContextMismatchError, match="left out the initial model"):
        hand.ask(0, "evaluate", run="next")


def test_an_older_checkpoint_is_refused(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "keys")
    old = _after_a_run(hand)
    new = hand.round(2, past=[])
    for place in hand.places:
        hand.ask(place, "evaluate", past=[new])
    with pytest.raises(ContextMismatchError, match=r"of round 1, .* after round 2"):
        hand.greet(0, b"c" * 32, [old], run="next")


def test_a_run_that_brings_nothing_leaves_the_model_to_resume_from(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "keys")
    total = _after_a_run(hand)
    with hand.party(0) as party:
        trained = party.model()
    hand.greet_all(OTHER, run="started by mistake")
    for place in hand.places:
        got, _ = hand.ask(place, "train", 2, model=OTHER, run="started by mistake")
        assert same_bits(got, OTHER)
    for place in hand.places:
        hand.greet(place, b"c" * 32, [total], run="next")
    assert same_bits(hand.ask(0, "train", 3, run="next")[0], trained)


def test_a_run_without_a_total_is_nothing_to_resume(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "keys", 2)
    hand.greet_all()
    total = hand.round(1, model=START)
    fresh = Hand(tmp_path / "other", 2)
    with pytest.raises(ConfigError, match="there is no model yet"):
        fresh.greet(0, b"c" * 32, [total], run="next")
    fresh.greet_all()
    fresh.ask(0, "train", 1, model=START)
    with pytest.raises(ConfigError, match="no total was opened here"):
        fresh.greet(0, b"c" * 32, [(PastRound(0), total[1])], run="next")


def test_who_sees_hellos_cannot_test_guesses_of_the_model(tmp_path: Path) -> None:
    """What stands for the model is made under a key that only the parties have."""
    hand = Hand(tmp_path / "keys")
    total = _after_a_run(hand)
    place, said = hellos.read_hello(hand.greet(0, b"c" * 32, [total], run="next"), hand.params)
    with hand.party(0) as party:
        digest = digest_of_model(party.model())
    assert place == 0
    assert len(said.model) == 32
    assert said.model != digest
    assert digest not in hand.hellos[0]
    other = hellos.read_hello(hand.greet(1, b"c" * 32, [total], run="next"), hand.params)[1]
    assert other.model == said.model


def test_hellos_are_of_their_party_their_run_and_whole(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "keys")
    hand.greet_all(run="before")
    before = dict(hand.hellos)
    hand.greet_all()
    mine, others = hand.hellos[0], [hand.hellos[1], hand.hellos[2]]
    as_another = (1).to_bytes(2, "little") + hand.hellos[2][2:]
    stranger = Keyring.create(tmp_path / "stranger", unlocked=True).identity
    forged = hellos.read_hello(hand.hellos[1], hand.params)[1].signed(1, stranger)
    flipped = bytearray(hand.hellos[1])
    flipped[40] ^= 1
    for said, expected in (
        ([mine, before[1], hand.hellos[2]], ContextMismatchError),  # of another run
        ([before[0], *others], ReplayError),
        ([mine, as_another, *others], AuthenticationError),
        ([mine, forged, hand.hellos[2]], AuthenticationError),
        ([mine, bytes(flipped), hand.hellos[2]], AuthenticationError),
        ([mine, hand.hellos[1][:-1], hand.hellos[2]], AuthenticationError),
        ([mine, hand.hellos[1] + bytes(2000), hand.hellos[2]], PrivFedError),
        ([mine, before[1], *others], PrivFedError),  # two of one party
        ([mine, hand.hellos[1]], QuorumError),  # one left out
        ([], QuorumError),
    ):
        with pytest.raises(expected):
            hand.ask(0, "train", 1, model=START, hellos=said)
    assert hand.ask(0, "train", 1, model=START, hellos=[mine, *others])[1]


def test_a_round_is_asked_for_once_and_in_its_run(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "keys")
    hand.greet_all()
    total = hand.round(1, model=START)
    with pytest.raises(ReplayError, match="round 1 was sent already"):
        hand.ask(0, "train", 1)
    with pytest.raises(ContextMismatchError, match="has not said hello"):
        hand.ask(0, "train", 2, past=[total], run="another")
    with pytest.raises(ReplayError, match="anew in which this party is already"):
        hand.greet(0, digest_of_model(OTHER))
    assert np.isfinite(hand.ask(0, "train", 2, past=[total])[0]["bias"]).all()


def test_a_server_does_not_use_a_key_up(tmp_path: Path) -> None:
    """By one question for a round far away."""
    hand = Hand(tmp_path / "keys", 2)
    far = (1 << 63) - 1
    with pytest.raises(ContextMismatchError, match="uses a key up"):
        hand.greet(0, digest_of_model(START), first=far)
    hand.greet_all()
    with pytest.raises(ContextMismatchError, match="uses a key up"):
        hand.ask(0, "train", far, model=START)
    assert hand.round(9, model=START)


def test_a_group_smaller_than_the_quorum_enters_a_run(tmp_path: Path) -> None:
    """Hellos are those of a group; the quorum is of a sum."""
    hand = Hand(tmp_path / "keys", 6, min_clients=6)
    hand.greet_all()
    group = [hand.hellos[place] for place in (0, 1, 2)]
    assert hand.ask(0, "train", 1, model=START, hellos=group)[1]
