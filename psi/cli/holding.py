"""A session from its table to its output: what `serve`, `join` and `together` have in common."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psi.cli.events import EventLog
from psi.cli.options import SessionOptions
from psi.cli.shared import (
    check_files,
    ledger_of,
    load,
    messages,
    own_files,
    progress_bar,
    steps_of,
    unfinished_folder,
)
from psi.cli.stopping import stoppable
from psi.cli.summaries import write_summary
from psi.cli.words import in_words
from psi.errors import ConfigError, PeerRefusedError, ProtocolError, PSIError, StoppedError

if TYPE_CHECKING:
    from psi.ledger import Ledger
    from psi.network import TLSIdentity, Traffic
    from psi.protocols.conversation import Progress, SetConversation
    from psi.protocols.noise import SessionCost
    from psi.sessions import Choice, TableSession
    from psi.sessions.keeping import ResultKeeper, SessionFinding

__all__ = ["OwnTableFile", "count_to", "hold", "put", "say_cost", "write_kept"]

# What a side says that stops although it may have its result.
_NO_VERDICT = {"DeadlineError", "StoppedError", "TransportError", "no known error"}


@dataclass
class OwnTableFile:
    """This side's table, and all that it chose about every session with it.

    Attributes:
        path: The file with this side's IDs.
        choice: What is asked, of whom, and who learns it.
        options: Everything else.
        identity: This side's key and certificate.
        files: What else the command reads; no output may replace it.
        keeps: Files that the session itself writes.
    """

    path: Path
    choice: "Choice[SetConversation[Any, Any]]"
    options: SessionOptions
    identity: "TLSIdentity"
    files: Sequence[Path]
    keeps: Sequence[Path] = ()
    table: Any = None
    digest: str = ""

    def check(self, out: Path | None) -> None:
        """Refuse now a place that cannot be written, not after the session.

        Raises:
            ConfigError: It cannot, or would replace a file of the command's own.
        """
        own = [*self.files, *own_files(self.options)]
        for kept in self.keeps:  # older ones may be replaced: the session checks they are its own
            check_files(kept, force=True, tables=[], others=[self.path, *own])
        check_files(out, force=self.options.force, tables=[self.path], others=[*own, *self.keeps])
        others = [self.path, out, *own, *self.keeps]
        check_files(self.options.summary, force=self.options.force, tables=[], others=others)

    def load(self, progress: "Progress") -> None:
        """Read the table.

        Raises:
            ConfigError: It cannot be read.
        """
        from psi.sessions.keeping import file_digest

        # Before the rows: a file that changes meanwhile is then another table, not this one.
        self.digest = file_digest(self.path)
        self.table = load(self.path, progress)

    def session(self, progress: "Progress") -> "TableSession[SetConversation[Any, Any]]":
        """Return a session that is ready to begin.

        Raises:
            ConfigError: The table, its IDs or an option is not acceptable.
        """
        from psi.sessions import TableSession

        options = self.options
        return TableSession.prepare(
            self.table,
            self.choice,
            on=options.on,
            normalise=steps_of(options.normalise),
            pad_to=options.pad_to,
            max_peer_items=options.max_peer_items,
            progress=progress,
        )

    def keeper(self, peers: Sequence[str]) -> "ResultKeeper | None":
        """Return what keeps the result of a session with these peers; None where there is none.

        Raises:
            ConfigError: Its folder cannot be written.
        """
        from psi.network import fingerprint
        from psi.sessions.keeping import ResultKeeper

        if not self.choice.gets_result:
            return None
        options = self.options
        about = {
            "own": fingerprint(self.identity.certificate),
            "peers": list(peers),
            "role": self.choice.role,
            "terms": self.choice.terms.encode().decode(),
            "table": self.digest,
            "on": list(options.on),
            "normalise": sorted(options.normalise or []),
            "duplicates": options.duplicates,
            "details": repr(getattr(self.choice, "details", None)),
        }
        folder = options.unfinished or unfinished_folder(options.identity)
        return ResultKeeper(folder, self.identity.derive(b"results"), about)

    def write(self, found: "SessionFinding", out: Path | None) -> None:
        """Put a result into its place; what is kept of it can then be forgotten.

        Raises:
            ConfigError: It cannot be written, or the table is another one by now.
        """
        from psi.sessions.keeping import file_digest
        from psi.tables.files import with_rows, write_table

        columns = dict(found.columns)
        if not self.options.rows:
            if "row" in columns and file_digest(self.path) != self.digest:
                raise ConfigError(f"{self.path} changed meanwhile: put back what it was")
            columns = with_rows(columns, self.table)
        write_table(out, columns, replace=self.options.force)

    def converse(
        self,
        session: "TableSession[SetConversation[Any, Any]]",
        keeper: "ResultKeeper | None",
        talk: "Callable[..., Traffic]",
    ) -> "tuple[SessionFinding | None, Traffic]":
        """Hold a session, and keep its result before the other sides hear of it.

        Args:
            session: Ready to begin.
            keeper: Keeps its result.
            talk: Takes the party, the terms and the rest that is given here.

        Returns:
            The result, which is not in its place yet, and what went to and fro.

        Raises:
            TransportError: Another side is gone, too slow, or not who it should be.
            ProtocolError: Another side sent what is not acceptable.
            StoppedError: This side was told to stop.
        """
        found: list[SessionFinding] = []
        withheld: list[ProtocolError] = []
        where = "before a session began"

        def begun() -> None:
            nonlocal where
            where = "in the middle of a session, which counts"
            if keeper is not None:
                keeper.begin(2 * len(session.index.rows))

        def computed() -> None:
            if keeper is not None:
                try:
                    columns, words = session.outcome(self.table, numbers=True)
                except ProtocolError as error:  # of a sum: the other side must not hear it
                    withheld.append(error)
                else:
                    found.append(keeper.keep(columns, words))

        try:
            traffic = talk(
                session.party,
                terms=session.terms,
                timeout_seconds=self.options.timeout,
                on_begun=begun,
                on_result=computed,
            )
            if withheld:
                raise withheld[0]
        except PSIError as error:
            if isinstance(error, StoppedError):
                _add(error, where, " ")
            if keeper is not None and keeper.break_off(in_words(str(error)), void=_is_void(error)):
                _add(error, "its result is kept, and the same command writes it")
            raise
        return (found[0] if found else None), traffic


def hold(
    own: OwnTableFile, talk: "Callable[..., Traffic]", peers: Mapping[int, str], log: EventLog
) -> None:
    """Hold a session, and write what this side has learnt now that all sides are done.

    Args:
        own: This side's table and choices.
        talk: `serve`, `join` or `meet`, with all arguments but those set here.
        peers: The fingerprint of each other party's certificate, by its number.
        log: Is told what happens.

    Raises:
        ConfigError: An input is not acceptable, or the output has no place.
        TransportError: Another side is gone, too slow, or not who it should be.
        ProtocolError: Another side sent what is not acceptable.
        StoppedError: This side was told to stop.
    """
    out = own.options.out
    own.check(out)
    if out is not None and not own.choice.gets_result:
        raise ConfigError("this side gets no result: leave out --out, or choose another --result")
    ledger = ledger_of(
        own.options,
        epsilon_in_all=own.options.epsilon_in_all,
        delta_in_all=own.options.delta_in_all,
    )
    with ExitStack() as stack:
        stack.enter_context(stoppable())
        stack.enter_context(_told(log))
        with progress_bar() as progress:
            own.load(progress)
            keeper = own.keeper([peers[number] for number in sorted(peers)])
            if keeper is not None:
                stack.enter_context(keeper)
                if write_kept(own, keeper, out, log):
                    return
            session = own.session(progress)
            cost = session.party.cost
            if ledger is not None:
                ledger.check_cost(*cost)  # too much is too much before anybody comes
                session.party.charge_with(
                    lambda peer, items: count_to(ledger, peers[peer], items, session.party)
                )
            found, traffic = own.converse(
                session,
                keeper,
                functools.partial(talk, identity=own.identity, progress=progress),
            )
        words = "no result at this side"
        if found is not None and keeper is not None:
            put(own, found, keeper, out)
            words = found.words
        log.tell(
            "session ended",
            protocol=session.party.protocol,
            bytes_sent=traffic.bytes_sent,
            bytes_received=traffic.bytes_received,
            out=str(out) if out is not None and found is not None else None,
        )
    reason = session.party.reason
    messages.print(
        f"{words} by {session.party.protocol}, {traffic.bytes_sent} bytes sent, "
        f"{traffic.bytes_received} received" + (f"; {reason}" if reason else "")
    )
    write_summary(
        own.options.summary,
        protocol=session.party.protocol,
        reason=reason,
        rows=len(session.index.rows),
        matched=len(found.columns["row"]) if found and "row" in found.columns else None,
        sent=traffic.bytes_sent,
        received=traffic.bytes_received,
        replace=own.options.force,
    )
    say_cost(cost, ledger)


def write_kept(own: OwnTableFile, keeper: "ResultKeeper", out: Path | None, log: EventLog) -> bool:
    """Write a result that an earlier call kept, if there is one; say what became of that call.

    Returns:
        Whether there was one: then no session is to be held.

    Raises:
        ConfigError: It cannot be written.
    """
    found = keeper.found()
    if found is None:
        if (why := keeper.broke_off()) is not None:
            messages.print(f"a new session, which counts again; the last broke off, {why}")
            log.tell("session before broke off", why=why)
        return False
    put(own, found, keeper, out)
    messages.print(
        f"{found.words} by the session of {found.began}, whose result was kept; no other was held"
    )
    log.tell("kept result written", began=found.began, out=None if out is None else str(out))
    return True


def put(
    own: OwnTableFile, found: "SessionFinding", keeper: "ResultKeeper", out: Path | None
) -> None:
    """Put a result into its place, and forget what was kept of it.

    Raises:
        ConfigError: It cannot be written: then it stays kept.
        StoppedError: This side was told to stop: then it stays kept, too.
    """
    try:
        own.write(found, out)
    except (ConfigError, StoppedError) as error:
        _add(error, "the result is kept, and the same command writes it without another session")
        raise
    keeper.finish()


def say_cost(cost: "SessionCost", ledger: "Ledger | None") -> None:
    """Print what a session cost this side, and, with a ledger, what all have cost it."""
    if not 0 < cost.epsilon < math.inf:
        return
    words = f"it cost each ID of this side ε={cost.epsilon:.15g} with δ={cost.delta:.15g}"
    if ledger is not None:
        epsilon, delta = ledger.spent()
        words += f", all sessions with all peers ε={epsilon:.15g} with δ={delta:.15g}"
    messages.print(f"{words} (one ID replaced by another; sizes are public)")


def count_to(ledger: "Ledger", peer: str, items: int, party: "SetConversation[Any, Any]") -> None:
    """Count a session to a party, and say how much that is."""
    ledger.charge(peer, items, *party.cost)
    messages.print(f"{items:,} IDs are counted to {peer[:11]}…, {party.counted_as}")


def _is_void(error: PSIError) -> bool:
    """Return whether no side takes a session for done that ended so."""
    if isinstance(error, PeerRefusedError):
        return error.reason not in _NO_VERDICT
    return isinstance(error, ProtocolError | ConfigError)


def _add(error: PSIError, words: str, join: str = "; ") -> None:
    error.args = (f"{error}{join}{words}", *error.args[1:])


@contextmanager
def _told(log: EventLog) -> Iterator[None]:
    """Let the log know how a command ends that ends by an error."""
    try:
        yield
    except PSIError as error:
        log.tell("failed", error=type(error).__name__, message=in_words(str(error)))
        raise
    finally:
        log.tell_dropped()
