"""One company's side of a training: its rows stay, updates go out, means are opened here.

A session begins when all are there, and again whenever somebody comes back. In it each says, and
signs, how far it is. From that all follow one rule: who missed the last total gets it from another
party; an update that was sent and never opened is sent again as it was; and if somebody's is lost,
all train that round anew under the next number. The server decides nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from torch import nn

from privfed.errors import AuthenticationError, ConfigError, PeerError
from privfed.partner.channel import AgainError, Channel
from privfed.partner.messages import decode
from privfed.partner.plan import Plan
from privfed.partner.progress import Finished, Folder, Pending
from privfed.secagg import Keyring, Parameters, Party
from privfed.secagg.sealing import seal_to_roster
from privfed.training import Arrays, get_arrays, set_arrays
from privfed.training.averaging import add, subtract
from privfed.training.federated import batch_seed

OnRound = Callable[[int, nn.Module], None]
"""Called after each round with the number of rounds that are finished, and the model."""

_MOST_APART = 1000  # numbers of rounds: each try that fails uses one up
_Round = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class LocalWork(Protocol):
    """A party's own training: `privfed.training.AdamTrainer` is one."""

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        """Train one local epoch, in place."""

    def moments(self) -> Arrays:
        """Copy its state out."""

    def resume(self, model: nn.Module, moments: Arrays) -> None:
        """Go on with such a state."""


class _Standing(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far a party is: rounds finished, the last number used, an update at hand, its key."""

    finished: _Round
    last: _Round
    pending: _Round
    key: str


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A standing's bytes, and its party's signature of them, the session and the plan."""

    standing: bytes
    signature: bytes


@dataclass
class Trainer:
    """One company in a training.

    Attributes:
        plan: What all agreed on.
        params: Its parameters.
        keys: This party's keyring folder, in which the plan's key is made or accepted.
        passphrase: What locks it, or None.
        folder: Where this party's progress is kept.
        model: The plan's model with its initial weights.
        work: This party's training on its own rows.
        weight: How much it counts, where the plan has weights.
        on_round: Called after each round.
    """

    plan: Plan
    params: Parameters
    keys: Path
    passphrase: str | None
    folder: Folder
    model: nn.Module
    work: LocalWork
    weight: int | None
    on_round: OnRound = lambda rounds, model: None

    def __post_init__(self) -> None:
        self.ring = Keyring(self.keys, self.passphrase)
        self.place = self.params.index_of(self.ring.identity.public)
        done = self.folder.finished()
        if done is None:
            done = Finished(0, get_arrays(self.model), {})
            self.folder.finish(done)
        self._done = done
        set_arrays(self.model, done.weights)
        self._party: Party | None = None

    @property
    def rounds(self) -> int:
        """How many rounds are finished."""
        return self._done.rounds

    def run(self, channel: Channel) -> Arrays:
        """Train until all rounds are finished.

        Returns:
            The weights.

        Raises:
            PeerError: Somebody is missing or too slow.
            AuthenticationError: Another party or the server sent what does not verify.
            ConfigError: Files or parties do not fit together; says what to do.
        """
        began, rounds = time.monotonic(), self.rounds
        try:
            while True:
                with contextlib.suppress(AgainError):
                    self._session(channel)
                    return self._done.weights
                if self.rounds > rounds:
                    began, rounds = time.monotonic(), self.rounds
                elif time.monotonic() - began > channel.wait_seconds:
                    raise PeerError(
                        "sessions begin again and again, and no round is finished: look at the "
                        "server, and whether a party comes and goes"
                    )
        except PeerError:
            if self._done.rounds < self.plan.rounds:
                raise
            return self._done.weights  # others may have left: they are finished, too
        finally:
            if self._party is not None:
                self._party.close()
                self._party = None

    # -- a session -------------------------------------------------------------------------------

    def _session(self, channel: Channel) -> None:
        session = channel.join()
        standings = self._standings(channel, session, "standing")
        self._agree_on_key(channel, standings)
        party = self._open_party()
        standings = self._standings(channel, session, "key")
        self._catch_up(channel, party, standings)
        number, repeated = self._next_number(standings)
        if self.params.masks:
            self._agree_on_masks(channel, party, number + repeated)
        while self._done.rounds < self.plan.rounds:
            self._round(channel, party, number)
            number += 1
        channel.exchange("done", b"")

    def _standings(self, channel: Channel, session: bytes, topic: str) -> list[_Standing]:
        """Say how far this party is, and hear all others."""
        party = self._party
        pending = None if party is None else self._pending(party)
        own = _Standing(
            self._done.rounds,
            0 if party is None else party.round_id,
            0 if pending is None else pending.round_id,
            self._key_in_use(),
        )
        said = msgspec.msgpack.encode(own)
        fresh = session + topic.encode()
        signed = _Signed(said, self.plan.sign(self.ring.identity, fresh, said))
        found = []
        for place, body in enumerate(channel.exchange(topic, msgspec.msgpack.encode(signed))):
            theirs = decode(body, _Signed)
            self.plan.verify(place, theirs.signature, fresh, theirs.standing)
            found.append(decode(theirs.standing, _Standing))
        if found[self.place] != own:
            raise AuthenticationError("the server changed what this party said")
        return found

    def _pending(self, party: Party) -> Pending | None:
        """Return the update that can be sent again: of the last round, and not opened."""
        pending = self.folder.pending()
        if pending is None or not party.opened_round < pending.round_id == party.round_id:
            return None
        return pending

    def _key_in_use(self) -> str:
        try:
            return self.ring.current if self.ring.params == self.params else ""
        except ConfigError:  # none yet
            return ""

    def _agree_on_key(self, channel: Channel, standings: Sequence[_Standing]) -> None:
        """Let the first party make the key, if it has none, and hand it to those who lack it."""
        if len({each.key for each in standings}) == 1 and standings[0].key:
            return
        body = b""
        if self.place == 0:
            if not self._key_in_use():
                self.ring.make(self.params)
            sealed = seal_to_roster(self.ring.key(), self.params, self.ring.identity)
            body = msgspec.msgpack.encode(sealed)
        given = channel.exchange("sealed", body)[0]
        if self.place:
            own = decode(given, dict[str, bytes]).get(self.ring.identity.public.id, b"")
            # The plan was compared, and all of it is in the parameters.
            self.ring.accept(own, self.params, self.params.roster[0], changed=True)

    def _open_party(self) -> Party:
        if self._party is None:
            self._party = party = Party.load(self.keys, self.passphrase)
            pending = self.folder.pending()
            if pending is not None and pending.round_id == party.opened_round:
                self._finish(party, self.folder.total())  # killed between the two
        return self._party

    def _catch_up(self, channel: Channel, party: Party, standings: Sequence[_Standing]) -> None:
        """Send the last total to those who missed it."""
        finished = [each.finished for each in standings]
        most, least = max(finished), min(finished)
        if most == least:
            return
        if most > least + 1:
            behind = self.plan.parties[finished.index(least)].name
            raise PeerError(
                f"{behind} has finished {least} rounds and others {most}: its folder is an older "
                "copy; put the newest back, or begin anew under another job name"
            )
        giver = finished.index(most)
        own = self.folder.total() if self.place == giver else b""
        total = channel.exchange("total", own)[giver]
        if self._done.rounds == least:
            self._finish(party, total)

    def _next_number(self, standings: Sequence[_Standing]) -> tuple[int, bool]:
        """Return the number of the next round, and whether updates of it wait at all parties.

        Without masks an update that waits is sent as it is, and others make theirs to go with it.
        With masks it fits only those that were made with the same keys.

        Raises:
            PeerError: A party has used up far more numbers than this one.
        """
        last = max(each.last for each in standings)
        own = standings[self.place].last
        if last > own + _MOST_APART:
            name = self.plan.parties[[each.last for each in standings].index(last)].name
            raise PeerError(
                f"{name} has used up rounds to {last} and this party to {own}: one of their "
                "folders is of another training, or that party wastes the numbers of rounds"
            )
        users = (
            standings if self.params.masks else [each for each in standings if each.last == last]
        )
        repeated = last > 0 and all(each.pending == last for each in users)
        return (last, True) if repeated else (last + 1, False)

    def _agree_on_masks(self, channel: Channel, party: Party, number: int) -> None:
        party.enter_epoch(channel.exchange("epoch", party.start_epoch(number)))

    # -- a round ---------------------------------------------------------------------------------

    def _round(self, channel: Channel, party: Party, number: int) -> None:
        pending = self._pending(party)
        if pending is None or pending.round_id != number:
            pending = self._made(party, number)
        total = channel.sum(number, pending.upload)
        self.folder.keep_total(total)
        self._finish(party, total)

    def _made(self, party: Party, number: int) -> Pending:
        """Train, encrypt, and keep the update."""
        self.work.resume(self.model, self._done.moments)
        seed = batch_seed(self.plan.seed, self._done.rounds + 1, self.place)
        with _meanwhile(party.prepare):
            self.work.train_epoch(self.model, seed)
        update = subtract(get_arrays(self.model), self._done.weights)
        set_arrays(self.model, self._done.weights)
        upload = party.encrypt(update, weight=self.weight, round_id=number)
        pending = Pending(number, upload, self.work.moments())
        self.folder.send(pending)
        return pending

    def _finish(self, party: Party, total: bytes) -> None:
        """Open a total, and take its mean."""
        pending = self.folder.pending()
        if pending is None:
            raise ConfigError("this party's update of the last round is lost: begin anew")
        result = party.open(total, round_id=pending.round_id)
        weights = add(self._done.weights, result.mean)
        self._done = Finished(self._done.rounds + 1, weights, pending.moments)
        self.folder.finish(self._done)
        set_arrays(self.model, weights)
        self.on_round(self._done.rounds, self.model)


@contextlib.contextmanager
def _meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread while the block runs; SEAL lets go of the interpreter."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        yield
        done.result()
