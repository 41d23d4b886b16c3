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

import msgspec
from torch import nn

from privfed.errors import (
    AuthenticationError,
    ConfigError,
    PeerError,
    PrivFedError,
    ReplayError,
)
from privfed.partner.carriers import (
    Carrier,
    ClearSums,
    EncryptedMeans,
    EncryptedShares,
    may_go,
)
from privfed.partner.channel import AgainError, Channel
from privfed.partner.messages import Topic, decode
from privfed.partner.plan import Plan
from privfed.partner.progress import Finished, Folder, Pending
from privfed.partner.standings import Standing, ToAll, check_models, signed_exchange
from privfed.partner.work import Work
from privfed.secagg import Keyring, Parameters, Party
from privfed.secagg.sealing import seal_to_roster
from privfed.training import Arrays, get_arrays, set_arrays, weights_sha256

_MOST_APART = 1000  # numbers of rounds: each try that fails uses one up

Settle = Callable[[ToAll, bool], tuple[Work, int | None]]


@dataclass(frozen=True)
class FinishedRound:
    """What a round was.

    Attributes:
        rounds: How many are finished with it.
        model: After it.
        train_seconds: On this party's rows; 0 if an update was sent again, or a total caught up.
        exchange_seconds: From there to the model: with the wait for others.
        upload_bytes: What this party sent.
    """

    rounds: int
    model: nn.Module
    train_seconds: float
    exchange_seconds: float
    upload_bytes: int


OnFinished = Callable[[FinishedRound], None]


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
        settle: Called when all have met, each time, with a way to exchange signed bytes with all
            and whether a round is finished; returns this party's part of a round, and how much it
            counts where the plan has weights.
        on_round: Called after each round.
        carrier: How values travel; None: as the plan says.
    """

    plan: Plan
    params: Parameters
    keys: Path
    passphrase: str | None
    folder: Folder
    model: nn.Module
    settle: Settle
    on_round: OnFinished = lambda finished: None
    carrier: Carrier | None = None

    def __post_init__(self) -> None:
        self.ring = Keyring(self.keys, self.passphrase)
        self.place = self.params.index_of(self.ring.identity.public)
        done = self.folder.finished()
        if done is None:
            done = Finished(0, get_arrays(self.model), {})
            self.folder.finish(done)
        self._done = done
        set_arrays(self.model, done.weights)
        if self.carrier is None and self.plan.method == "central":
            self.carrier = ClearSums(self.folder, self.params.layout.size)
        self._encrypted = self.carrier is None
        self._server = b""
        self._made_at = self._train_seconds = 0.0

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
            PrivFedError: This party cannot go on for another reason; the others are told its name.
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
            channel.tell("not all said which model they ended with: compare its digest with theirs")
            return self._done.weights  # others may have left: they are finished, too
        except PrivFedError as error:
            channel.stop(error)
            raise
        finally:
            if self.carrier is not None:
                self.carrier.close()
                self.carrier = None if self._encrypted else self.carrier

    # -- a session -------------------------------------------------------------------------------

    def _session(self, channel: Channel) -> None:
        session = channel.join()
        self._server = channel.process
        exchange = signed_exchange(self.plan, self.ring.identity, channel.exchange, session)
        self._work, self._weight = self.settle(exchange, self.rounds > 0)
        standings = self._standings(exchange, "standing")
        check_models(self.plan, self.place, standings)
        if self._encrypted:
            self._agree_on_key(channel, standings)
        carrier = self._open_carrier()
        standings = self._standings(exchange, "key")
        self._catch_up(channel, carrier, standings)
        number, repeated = self._next_number(standings, channel.tell)
        carrier.agree(channel.exchange, number + repeated)
        while self._done.rounds < self.plan.rounds:
            self._round(channel, carrier, number)
            number += 1
        check_models(self.plan, self.place, self._standings(exchange, "done"))

    def _standings(self, exchange: ToAll, topic: Topic) -> list[Standing]:
        """Say how far this party is, and hear all others."""
        carrier = self.carrier
        pending = None if carrier is None else self._pending(carrier)
        own = Standing(
            self._done.rounds,
            0 if carrier is None else carrier.round_id,
            0 if pending is None else pending.round_id,
            self._key_in_use() if self._encrypted else "",
            weights_sha256(self._done.weights),
        )
        said = exchange(topic, msgspec.msgpack.encode(own))
        return [decode(each, Standing) for each in said]

    def _pending(self, carrier: Carrier) -> Pending | None:
        """Return the update that can be sent again: of the last round, and not opened."""
        pending = self._made_last()
        if pending is None or not may_go(pending, carrier, self._server):
            return None
        return pending

    def _made_last(self) -> Pending | None:
        """Return the update of this model; a kill may leave the one that led to it."""
        pending = self.folder.pending()
        return None if pending is None or pending.rounds != self._done.rounds else pending

    def _key_in_use(self) -> str:
        try:
            return self.ring.current if self.ring.params == self.params else ""
        except ConfigError:  # none yet
            return ""

    def _agree_on_key(self, channel: Channel, standings: Sequence[Standing]) -> None:
        """Let the first party make the key, if it has none, and hand it to those who lack it."""
        if len({each.key for each in standings}) == 1 and standings[0].key:
            return
        body = b""
        if self.place == 0:
            if not self._key_in_use():
                self.ring.make(self.params, regroup=True)
            sealed = seal_to_roster(self.ring.key(), self.params, self.ring.identity)
            body = msgspec.msgpack.encode(sealed)
        given = channel.exchange("sealed", body)[0]
        if self.place:
            own = decode(given, dict[str, bytes]).get(self.ring.identity.public.id, b"")
            # The plan was compared, and all of it is in the parameters; a training with others
            # before had a plan of its own.
            maker = self.params.roster[0]
            self.ring.accept(own, self.params, maker, changed=True, regroup=True)

    def _open_carrier(self) -> Carrier:
        if self.carrier is None:
            party, private = Party.load(self.keys, self.passphrase), self.plan.private
            if private is not None and private.is_shared:
                self.carrier = EncryptedShares(party, private)
            else:
                self.carrier = EncryptedMeans(party, self._weight)
            pending = self._made_last()
            if pending is not None and pending.round_id == self.carrier.opened_round:
                with contextlib.suppress(ReplayError):  # or it does not open
                    self._finish(self.carrier, pending, self.folder.total())  # killed in between
        return self.carrier

    def _catch_up(self, channel: Channel, carrier: Carrier, standings: Sequence[Standing]) -> None:
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
            pending = self._made_last()
            if pending is None:
                raise PeerError(
                    f"{self.plan.parties[giver].name} says that it has finished {most} rounds, and "
                    "this party has sent no update of the last of them: if its folder is no older "
                    "copy, that is a lie"
                )
            try:
                self._take(carrier, pending, total)
            except ReplayError:
                raise AuthenticationError(
                    "a total did not open here that others opened, and none is tried twice: the "
                    "server or a party altered it; begin anew under another job name"
                ) from None
            weights = weights_sha256(self._done.weights)
            now = msgspec.structs.replace(standings[self.place], finished=most, weights=weights)
            check_models(
                self.plan, self.place, [*standings[: self.place], now, *standings[self.place + 1 :]]
            )

    def _next_number(
        self, standings: Sequence[Standing], tell: Callable[[str], None]
    ) -> tuple[int, bool]:
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
        if last and standings[self.place].pending == last and not repeated:
            lost = [
                party.name
                for party, each in zip(self.plan.parties, standings, strict=True)
                if each in users and each.pending != last
            ]
            tell(f"round {last} is made anew: {', '.join(lost)} has no update of it")
        return (last, True) if repeated else (last + 1, False)

    # -- a round ---------------------------------------------------------------------------------

    def _round(self, channel: Channel, carrier: Carrier, number: int) -> None:
        pending = self._pending(carrier)
        if pending is None or pending.round_id != number:
            pending = self._made(carrier, number)
        self._take(carrier, pending, channel.sum(number, pending.upload))

    def _take(self, carrier: Carrier, pending: Pending, total: bytes) -> None:
        self.folder.keep_total(total)
        self._finish(carrier, pending, total)

    def _made(self, carrier: Carrier, number: int) -> Pending:
        """Train, encrypt, and keep the update."""
        began = time.perf_counter()
        with _meanwhile(lambda: carrier.prepare(number)):
            values, moments = self._work.make(self.model, self._done)
            self._made_at = time.perf_counter()
            self._train_seconds = self._made_at - began
        upload = carrier.pack(values, number)
        goes_to = carrier.goes_to(self._server)
        pending = Pending(number, upload, moments, self._done.rounds, goes_to)
        self.folder.send(pending)
        return pending

    def _finish(self, carrier: Carrier, pending: Pending, total: bytes) -> None:
        """Open the total of an update, and take what it says."""
        opened = carrier.unpack(total, pending.round_id)
        weights, moments = self._work.take(self._done, pending.moments, opened)
        self._done = Finished(self._done.rounds + 1, weights, moments, pending.round_id)
        self.folder.finish(self._done)
        set_arrays(self.model, weights)
        waited = time.perf_counter() - self._made_at if self._made_at else 0.0
        self.on_round(
            FinishedRound(
                self._done.rounds, self.model, self._train_seconds, waited, len(pending.upload)
            )
        )
        self._made_at = self._train_seconds = 0.0


@contextlib.contextmanager
def _meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread while the block runs; SEAL lets go of the interpreter."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        yield
        done.result()
