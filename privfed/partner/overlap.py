"""Before training: which IDs the parties share, by private set intersection of each two.

All are connected at once, the earlier of two on the plan listens, and each pair has a session of
`psi` of its own. Every set is filled up to the plan's bound on rows, which is public: so nobody
learns how many IDs another has. What a session reveals is its result, to whom the plan says, and
no ε counts it: docs/threat-model.md says what that is.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

import psi.errors
from privfed.errors import ConfigError, PeerError
from privfed.partner.pairwise import Pairwise
from privfed.partner.plan import Plan
from psi.defaults import SESSION_SECONDS, WAIT_SECONDS
from psi.network import Participant, Progress, Roster, Terms, TLSIdentity, gather
from psi.sessions import PairChoice, TableSession
from psi.sessions.questions.question import Result, Side

_DOMAIN = b"privfed/1/overlap\x00"
_MOST_IDS = 1 << 24  # of each party: filled up, they take a point each in memory

IDs = NDArray[np.str_] | Sequence[str | None]
Mask = NDArray[np.bool_]

Asked = Literal["counts", "rows", "tests of the later", "tests of the earlier"]
"""What each two find out: of training IDs how many, or which, both have, and both learn it; or
which of one's test IDs the other trains on, which the one learns."""

_LEARNS: dict[Asked, Result] = {
    "counts": "both",
    "rows": "both",
    "tests of the later": "join",
    "tests of the earlier": "serve",
}
_ABOUT_TESTS: tuple[Asked, ...] = ("tests of the later", "tests of the earlier")

_Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Number = Annotated[int, msgspec.Meta(ge=0)]
_RowNumbers = tuple[_Number, ...]


class OverlapTerms(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all parties must agree on before they begin.

    Attributes:
        plan: The plan's fingerprint.
        asked: What is found out.
    """

    plan: _Hex32
    asked: Asked


@dataclass(frozen=True, kw_only=True)
class PairInPlan(PairChoice):
    """A question between two parties of a plan.

    Attributes:
        bound: What both hash into their session besides: plan, question and pair.
    """

    bound: str

    def party(self, items: Sequence[bytes], own: Any, form: str, options: dict[str, Any]) -> Any:
        """Return the state machine; a session of another plan, question or pair fails."""
        return super().party(items, own, f"{form}; {self.bound}", options)


class FoundOverlap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one party learnt; its repr shows no row.

    Attributes:
        plan: The plan's fingerprint.
        ids: A digest of this party's IDs.
        place: This party's place in the plan.
        rows: How many training rows it has.
        tests: How many test rows.
        counts: How many of its training IDs each party trains on, itself included.
        trained_too: Its training rows whose ID each other party trains on; None: only counted, or
            it has no IDs.
        tested: Its test rows whose ID each party trains on, itself included; None: only counted, or
            it has none.
    """

    plan: _Hex32
    ids: _Hex32
    place: _Number
    rows: _Number
    tests: _Number
    counts: tuple[_Number, ...]
    trained_too: tuple[_RowNumbers, ...] | None = None
    tested: tuple[_RowNumbers, ...] | None = None

    def __post_init__(self) -> None:
        for kept, length in ((self.trained_too, self.rows), (self.tested, self.tests)):
            if any(row >= length for each in kept or () for row in each):
                raise ValueError("a row that is not there")

    @property
    def taken_out(self) -> Mask | None:
        """Its training rows whose ID an earlier party trains on: each ID stays at one party."""
        if self.trained_too is None:
            return None
        return _mask(self.trained_too[: self.place], self.rows)

    @property
    def seen(self) -> Mask | None:
        """Its test rows whose ID some party trains on, itself included."""
        return None if self.tested is None else _mask(self.tested, self.tests)

    def __repr__(self) -> str:
        return f"FoundOverlap({self.rows} training rows, {self.tests} test rows)"


def find_overlap(
    plan: Plan,
    identity: TLSIdentity,
    train_ids: IDs | None,
    test_ids: IDs | None = None,
    *,
    listen: str | None = None,
    wait_seconds: float = WAIT_SECONDS,
    timeout_seconds: float = SESSION_SECONDS,
    tell: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
) -> FoundOverlap:
    """Find what this party shares with each other one; all parties call it at the same time.

    IDs are compared as `psi` does it, exactly. One ID may have several rows. A missing one (None,
    or empty) matches nothing.

    What is revealed, to a party that keeps to the protocol, has no ε. "counts": how many training
    IDs each two share, to both. "rows": to both which training IDs of theirs these are, and to each
    which of its test IDs the other trains on.

    Args:
        plan: What all agreed on.
        identity: This party's key and certificate.
        train_ids: One for each training row, in order; None: this party has none.
        test_ids: The same of its test rows.
        listen: HOST:PORT to listen on; the plan's port on all interfaces without it.
        wait_seconds: For how long others may be missed.
        timeout_seconds: How long each of the plan's questions may take then.
        tell: Called with a line when this side begins, and when it turns somebody away.
        progress: Called with a stage, how much is done, and of how much.

    Returns:
        What this party learnt.

    Raises:
        ConfigError: The plan or the IDs allow none, or the address cannot be listened on.
        PeerError: A party is missing, slow, of another plan, or sends what is not acceptable. No
            party has a result then, but for a line that breaks at the very last word.
    """
    if plan.overlap == "none":
        raise ConfigError("the plan looks for no overlap: agree on one that does")
    if plan.most_rows > _MOST_IDS:
        raise ConfigError(f"an overlap is found among at most {_MOST_IDS} rows: bound them by that")
    place = plan.place_of(identity.certificate)
    train, tests = _texts(train_ids, plan.most_rows), _texts(test_ids, plan.most_rows)
    names = [each.name for each in plan.parties]
    others = [other for other in range(len(names)) if other != place]
    tell(f"looking for the overlap with {', '.join(names[other] for other in others)}")
    own = {each for each in train if each}
    counts = [len(own)] * len(names)
    trained_too: list[_RowNumbers] = [()] * len(names)
    tested = [_rows_with(tests, own)] * len(names)
    with (
        _in_our_words(),
        gather(
            roster=_roster(plan), identity=identity, listen=listen, wait_seconds=wait_seconds,
            on_turned_away=lambda words: tell(f"turned away, and waiting on: {words}"),
            progress=progress,
        ) as connection,
    ):  # fmt: skip

        def learnt(asked: Asked) -> dict[int, TableSession[Any]]:
            """Ask all others, and return the sessions that have a result here."""
            sessions = {
                other: _session(plan, asked, (place, other), train, tests, progress)
                for other in others
            }
            dialogues = {other: each.party for other, each in sessions.items()}
            terms = OverlapTerms(plan=plan.fingerprint.hex(), asked=asked)
            connection.converse(Pairwise(dialogues, names), terms, timeout_seconds=timeout_seconds)
            return {other: each for other, each in sessions.items() if each.gets_result}

        if plan.overlap == "counts":
            for other, session in learnt("counts").items():
                counts[other] = session.party.cardinality
        else:
            for other, session in learnt("rows").items():
                counts[other] = len(session.party.matches)
                trained_too[other] = _matched(train, session)
            for asked in _ABOUT_TESTS:
                for other, session in learnt(asked).items():
                    tested[other] = _matched(tests, session)
    told = plan.overlap == "rows"
    return FoundOverlap(
        plan=plan.fingerprint.hex(),
        ids=digest_of_ids(plan, train_ids, test_ids),
        place=place,
        rows=len(train),
        tests=len(tests),
        counts=tuple(counts),
        trained_too=tuple(trained_too) if told and train_ids is not None else None,
        tested=tuple(tested) if told and test_ids is not None else None,
    )


def digest_of_ids(plan: Plan, train_ids: IDs | None, test_ids: IDs | None) -> str:
    """Return a hash, in hexadecimal, of the IDs of all rows in their order."""
    found = hashlib.sha256(_DOMAIN + plan.fingerprint)
    for ids in (train_ids, test_ids):
        texts = _texts(ids, plan.most_rows)
        found.update(b"none" if ids is None else len(texts).to_bytes(8, "big"))
        for each in texts:
            data = (each or "").encode(errors="surrogatepass")
            found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()


def _texts(ids: IDs | None, most: int) -> list[str | None]:
    """Return IDs as a list.

    Raises:
        ConfigError: There are more than the plan allows, or one is no text.
    """
    found: list[str | None] = [] if ids is None else np.asarray(ids, object).tolist()
    if any(not (each is None or isinstance(each, str)) for each in found):
        raise ConfigError("IDs are texts, or None where one is missing")
    if len({each for each in found if each}) > most:
        raise ConfigError(f"there are more IDs than the {most} rows that the plan allows")
    return found


def _roster(plan: Plan) -> Roster:
    return Roster(
        tuple(
            Participant(each.name, each.address or "", each.certificate.encode())
            for each in plan.parties
        )
    )


def _session(
    plan: Plan,
    asked: Asked,
    pair: tuple[int, int],
    train: list[str | None],
    tests: list[str | None],
    progress: Progress | None,
) -> TableSession[Any]:
    """Return a session about training IDs, or this side's test IDs where it alone learns."""
    side: Side = "serve" if pair[0] < pair[1] else "join"
    learns: Result = _LEARNS[asked]
    choice = PairInPlan(
        side=side,
        learn="cardinality" if asked == "counts" else "intersection",
        # By ecdh a party that cheats tests no more IDs than the plan's bound on rows.
        protocol="auto" if asked == "counts" else "ecdh",
        result=learns,
        duplicates="first",
        bound=f"overlap of {plan.fingerprint.hex()}, {asked}, parties {min(pair)} and {max(pair)}",
    )
    return TableSession.prepare(
        tests if side == learns else train,
        choice,
        pad_to=plan.most_rows,
        max_peer_items=plan.most_rows,
        progress=progress,
    )


def _matched(ids: list[str | None], session: TableSession[Any]) -> _RowNumbers:
    """Return all rows whose ID matched; the session knows the first row of each ID."""
    return _rows_with(ids, {ids[row] for row in session.rows().tolist()})


def _rows_with(ids: list[str | None], wanted: Set[str | None]) -> _RowNumbers:
    return tuple(row for row, each in enumerate(ids) if each in wanted)


def _mask(kept: Sequence[_RowNumbers], length: int) -> Mask:
    mask = np.zeros(length, np.bool_)
    for rows in kept:
        mask[list(rows)] = True
    return mask


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """Raise this package's errors for those of `psi`, which name the party."""
    try:
        yield
    except psi.errors.ConfigError as error:
        raise ConfigError(str(error)) from None
    except psi.errors.PSIError as error:
        raise PeerError(f"no overlap was found, let all start again: {error}") from None
