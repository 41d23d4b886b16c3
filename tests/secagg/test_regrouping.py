"""An identity keeps its group: new parameters without one of its parties are refused.

Else new parameters are the old attack: a sum of a group, and one of the same group without a
party, about the same rows. The fault is a keyring that forgets with whom its updates were summed.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import AuthenticationError, ConfigError, ContextMismatchError, DecodeError
from privfed.secagg import Keyring, keyring
from privfed.secagg.canonical import VERSION
from privfed.secagg.ring_record import FILE
from privfed.secagg.sealing import seal_to_roster
from tests.secagg.colluders import sent
from tests.secagg.command import run_keys
from tests.secagg.parties import Round, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (20, 10)}
HELPER, VICTIM = 0, 1
MASKED = {"max_weight": None, "adversary": "lying-server+1"}
REFUSED = "another group than before"


@pytest.fixture
def rings(tmp_path: Path) -> list[Keyring]:
    """Seven parties in groups of four and three; the first one is hostile."""
    made = [Keyring.create(tmp_path / str(place), unlocked=True) for place in range(7)]
    params = of(made)
    assert params.group_sizes == (4, 3)
    hand_out(made, params, made[HELPER].make(params))
    return made


def of(rings: list[Keyring], **changes: object) -> secagg.Parameters:
    roster = tuple(ring.identity.public for ring in rings)
    return parameters(len(rings), SHAPES, **({"roster": roster} | MASKED | changes))


def hand_out(
    rings: list[Keyring],
    params: secagg.Parameters,
    sealed: dict[str, bytes],
    *,
    changed: bool = False,
) -> None:
    for ring in rings:
        if ring.identity.public.id in sealed:
            ring.accept(sealed[ring.identity.public.id], params, changed=changed)


def made_by_the_helper(rings: list[Keyring], params: secagg.Parameters) -> dict[str, bytes]:
    """What a hostile party hands out, whose own keyring is in nobody's way."""
    key, replaced = secagg.generate_keys(params), rings[2].current
    return seal_to_roster(key, params, rings[HELPER].identity, bytes.fromhex(replaced))


def without(rings: list[Keyring], *gone: int) -> list[Keyring]:
    return [ring for place, ring in enumerate(rings) if place not in gone]


OTHERS: dict[str, tuple[Callable[[list[Keyring]], secagg.Parameters], bool]] = {
    "without one of four": (lambda rings: of(without(rings, VICTIM), group_sizes=(3, 3)), True),
    "one group of all": (lambda rings: of(rings, group_sizes=(7,)), False),
    "without one of three": (lambda rings: of(without(rings, 6)), True),
    "another order": (lambda rings: of(rings[::-1]), False),
    "one more": (lambda rings: of([*rings[:4], *rings[4:]], group_sizes=(3, 4)), False),
    "another job": (lambda rings: of(without(rings, VICTIM), job="other"), False),
    "another adversary": (
        lambda rings: of(without(rings, VICTIM), adversary="lying-server", group_sizes=(3, 3)),
        False,
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_party_whose_group_is_another_one_refuses(name: str, rings: list[Keyring]) -> None:
    """Whatever else is said of the parameters, unless regrouping is asked for by name."""
    make, follows = OTHERS[name]
    params = make(rings)
    sealed = made_by_the_helper(rings, params)
    before = [(ring.current, ring.params) for ring in rings]
    old, regrouped = rings[0].params, 0
    for ring in rings[1:]:
        me = ring.identity.public
        if me not in params.roster:
            continue
        groups = [
            {each.roster[place].id for place in each.group_of(each.index_of(me))}
            for each in (old, params)
        ]
        if not follows:
            with pytest.raises(ContextMismatchError, match="differ from those in use"):
                ring.accept(sealed[me.id], params, regroup=True)
        if groups[0] == groups[1]:
            ring.accept(sealed[me.id], params, changed=True)
            continue
        regrouped += 1
        with pytest.raises(ContextMismatchError, match=REFUSED):
            ring.accept(sealed[me.id], params, changed=True)
        with pytest.raises(ContextMismatchError, match=REFUSED):
            ring.make(params)
        assert (ring.current, ring.params) == before[rings.index(ring)]
        ring.accept(sealed[me.id], params, changed=True, regroup=True)
        assert ring.params == params
    assert regrouped


@pytest.mark.parametrize(
    "between",
    [
        {"adversary": "honest-server"},
        {"adversary": "honest-server", "scheme": "ckks"},
        {"noise_shares": True},
        {"job": "another"},
    ],
    ids=str,
)
def test_other_parameters_in_between_make_no_keyring_forget(
    between: dict[str, object], rings: list[Keyring], tmp_path: Path
) -> None:
    params = of(rings, **between)
    hand_out(rings[1:], params, made_by_the_helper(rings, params), changed=True)
    less = of(without(rings, VICTIM), group_sizes=(3, 3))
    sealed = made_by_the_helper(rings, less)
    for place in (2, 3):
        again = Keyring(tmp_path / str(place))  # another process
        with pytest.raises(ContextMismatchError, match=REFUSED):
            again.accept(sealed[again.identity.public.id], less, changed=True)
        with pytest.raises(ContextMismatchError, match=REFUSED):
            again.make(less)


def test_a_group_that_leaves_takes_nobody_along(rings: list[Keyring]) -> None:
    """The other group goes on unasked; who revokes one of its own group is told."""
    with pytest.raises(ConfigError, match="this party is in that group"):
        rings[2].revoke(rings[VICTIM].identity.public.id)
    params, sealed = rings[5].revoke(rings[VICTIM].identity.public.id)
    assert params.group_sizes == (3,)
    hand_out([rings[4], rings[6]], params, sealed)
    assert {ring.params.fingerprint for ring in rings[4:]} == {params.fingerprint}
    for ring in rings[:4]:
        assert ring.identity.public.id not in sealed


def test_the_others_of_a_group_stay_where_each_says_so(rings: list[Keyring]) -> None:
    four = rings[:4]
    params = of(four, job="of four")
    hand_out(four[1:], params, made_by_the_helper(rings, params), changed=True)
    less, sealed = four[2].revoke(four[VICTIM].identity.public.id, regroup=True)
    assert (less.group_sizes, less.quorum) == ((3,), 3)
    me = four[3].identity.public.id
    with pytest.raises(ContextMismatchError, match=REFUSED):
        four[3].accept(sealed[me], less)
    four[3].accept(sealed[me], less, regroup=True)
    assert four[2].current == four[3].current
    with pytest.raises(ConfigError, match="only 2 parties would be left"):
        four[2].revoke(me, regroup=True)


def test_nobody_is_on_two_places() -> None:
    twice = Round.of(parameters(3, SHAPES)).params.roster
    with pytest.raises(ConfigError, match="twice"):
        parameters(4, SHAPES, roster=(*twice, twice[0]), **MASKED)


def test_a_stranger_in_the_place_of_a_party_is_refused(rings: list[Keyring]) -> None:
    """Who takes a party's place is another party, even as the maker on a roster of its own."""
    stranger = secagg.generate_identity()
    roster = (*rings[0].params.roster[:VICTIM], stranger.public, *rings[0].params.roster[2:])
    params = replace(rings[0].params, roster=roster)
    key = secagg.generate_keys(params)
    for maker, error in ((stranger, AuthenticationError), (rings[0].identity, None)):
        sealed = seal_to_roster(key, params, maker, bytes.fromhex(rings[2].current))
        with pytest.raises(error or ContextMismatchError):
            rings[2].accept(sealed[rings[2].identity.public.id], params, changed=True)


def test_parameters_of_an_earlier_privfed_are_left_as_changed(
    rings: list[Keyring], tmp_path: Path
) -> None:
    """They are not read any more, and were of no group; from then on the party is in one."""
    path = tmp_path / "3" / FILE
    earlier = json.loads(path.read_text()) | {"version": 1}
    earlier["params"] = earlier["params"].replace(f'"version":{VERSION}', '"version":3')
    del earlier["sha256"], earlier["group"]
    path.write_text(json.dumps(earlier))
    ring, params = Keyring(tmp_path / "3"), rings[0].params
    sealed = rings[0].rotate()[ring.identity.public.id]
    with pytest.raises(DecodeError, match="version 3"):
        ring.accept(sealed, params)
    ring.accept(sealed, params, changed=True)
    assert (ring.params, ring.current) == (params, rings[0].current)
    with pytest.raises(ContextMismatchError, match=REFUSED):
        ring.make(of(without(rings, VICTIM), group_sizes=(3, 3)))


def mean_of(rings: list[Keyring], update: list[dict[str, np.ndarray]]) -> np.ndarray:
    """The integers that a round of these parties adds up to, all of whom send."""
    params, key = rings[1].params, rings[1].key()
    parties = Round(params, [ring.identity for ring in rings], key)
    mean = parties.run(update).mean["w"].astype(float)
    return np.rint(mean.reshape(-1) * len(rings) / params.step)


def test_a_keyring_that_forgets_its_group_gives_a_party_away(
    rings: list[Keyring], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault: the same two sums, of one group with the party and without it."""
    update = updates(7, SHAPES)
    four = of(rings[:4])
    sums = []
    with monkeypatch.context() as planted:
        planted.setattr(keyring, "group_ids", lambda *_: frozenset())
        for params, those in ((four, rings[:4]), (of(without(rings[:4], VICTIM)), None)):
            members = those or without(rings[:4], VICTIM)
            hand_out(members[1:], params, made_by_the_helper(rings, params), changed=True)
            sums.append(mean_of(members, [update[rings.index(member)] for member in members]))
    read = sums[0] - sums[1]
    assert np.abs(read - sent(four, update[VICTIM])).max() <= 1  # a mean is float32


def test_by_the_command_it_is_regroup_by_name(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        run_keys("identity", folder, "--unlocked")
    publics = [
        secagg.PublicIdentity.from_certificate((folder / "tls.crt").read_bytes())
        for folder in folders
    ]
    four = parameters(4, SHAPES, roster=tuple(publics), **MASKED)
    three = parameters(3, SHAPES, roster=(publics[0], *publics[2:]), **MASKED)
    for name, params in (("four", four), ("three", three)):
        (tmp_path / name).write_bytes(params.to_bytes())

    def accept(folder: Path, sealed: str, params: str, *more: str) -> str:
        at = publics[folders.index(folder)].id
        return run_keys(
            "accept", folder, tmp_path / sealed / f"{at}.sealed",
            "--params", tmp_path / params, *more,
        )  # fmt: skip

    run_keys("make", folders[0], "--params", tmp_path / "four", "--out", tmp_path / "first")
    for folder in folders[1:]:
        accept(folder, "first", "four")
    with pytest.raises(ContextMismatchError, match=REFUSED):
        run_keys("make", folders[0], "--params", tmp_path / "three", "--out", tmp_path / "no")
    assert not list((tmp_path / "no").glob("*.sealed"))
    with pytest.raises(ConfigError, match="in that group"):
        run_keys(
            "revoke", folders[0], "--party", publics[1].id, "--params-out", tmp_path / "less",
            "--out", tmp_path / "no",
        )  # fmt: skip
    run_keys(
        "make", folders[0], "--params", tmp_path / "three", "--out", tmp_path / "second",
        "--regroup",
    )  # fmt: skip
    for folder in folders[2:]:
        for more in ((), ("--changed",)):
            with pytest.raises(ContextMismatchError, match=REFUSED):
                accept(folder, "second", "three", *more)
        accept(folder, "second", "three", "--regroup")
    assert len({run_keys("show", folder).split("key ")[1] for folder in folders[2:]}) == 1
