"""The server's end in somebody else's engine: whom to ask, what goes along, and the sum.

It holds no key and is believed nothing: it takes the parameters from the parties, reads who they
are from what they signed, and adds bytes. A node is whatever the engine calls a client.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

from numpy.typing import NDArray

from privfed.errors import (
    AuthenticationError,
    ConfigError,
    ContextMismatchError,
    DecodeError,
    PeerError,
    PrivFedError,
    QuorumError,
)
from privfed.integrations.hello import Hello, check_alike, read_hello
from privfed.integrations.kept import digest_of_model
from privfed.integrations.messages import (
    Assignment,
    Done,
    Greet,
    Packet,
    PastRound,
    Present,
    Purpose,
    Refused,
    encode,
    read_answer,
)
from privfed.integrations.openers import Ask, AskedOpeners, Node
from privfed.integrations.spool import Spool, read_checkpoint, write_checkpoint
from privfed.secagg import Aggregator, Parameters

_HINTS = {
    "AuthenticationError": "a total or a hello was altered, or another mod changed it",
    "BudgetExceededError": "its privacy budget is spent",
    "CapacityError": "values are past the clip range, or weights far below max_weight",
    "ConfigError": "its keys, settings or arrays do not fit",
    "ContextMismatchError": "it has other parameters, or was shown another model or run",
    "QuorumError": "too few parties were in what it was sent",
    "ReplayError": "it was asked for a round twice, or its folder is an older copy",
}


@dataclass
class _Met:
    """What is known of a node."""

    place: int
    hello: Hello
    said: bytes
    opened: int
    entered: bool = False
    initial: bool = False  # whether it has the initial model
    gone: bool = False


class EmbeddedServer(Generic[Node]):
    """One run.

    Args:
        start: What the run starts from: a model's arrays, or a checkpoint, as `total` returned it.
        params: The parties' parameters; None: as the first of them says, which all others must
            have, too.
        may_miss: Whether a run may begin without some parties of the roster.

    Attributes:
        params: The parameters, once a party has said hello.
    """

    def __init__(
        self,
        start: Mapping[str, NDArray[Any]] | bytes,
        *,
        params: Parameters | None = None,
        may_miss: bool = False,
    ) -> None:
        self.params, self._may_miss = params, may_miss
        self._given = params is not None
        resumed = read_checkpoint(start) if isinstance(start, bytes) else None
        self._start = (
            hashlib.sha256(start).digest() if isinstance(start, bytes) else digest_of_model(start)
        )
        self._totals = Spool()
        self._base: PastRound | None = None
        if resumed is not None:
            self._base, total = resumed
            self._totals.put(self._base, total)
        self._nodes: dict[Node, _Met] = {}
        self._first_round: int | None = None
        self._round: _Round | None = None
        self._next = 0

    # -- who is there ----------------------------------------------------------------------------

    def greeting(self) -> Packet:
        """Return what a node is asked first."""
        known = b"" if self.params is None else self.params.fingerprint
        along = () if self._base is None else (self._base,)
        ask = Greet(self._start, self._first_round, known, along)
        return Packet(encode(ask), tuple(self._totals.get(each) for each in along))

    def hear(self, node: Node, answer: bytes) -> None:
        """Take what a node said to a greeting.

        Raises:
            PeerError: It refused; says what that means.
            ConfigError: Its party speaks for another node, too.
            ContextMismatchError: It has other parameters than the others, or comes to a run that
                has begun and does not fit there; it can be in the next one.
            AuthenticationError: The hello is not signed by its party.
            DecodeError: These bytes are no answer.
        """
        said = self._answer(node, answer)
        if not isinstance(said, Present):
            raise DecodeError(f"node {node} did not say hello: install the same privfed at all")
        if said.parameters:
            self._agree(node, said.parameters)
        if self.params is None:
            raise DecodeError(f"node {node} left out its parameters")
        place, hello = read_hello(said.hello, self.params)
        for other, met in self._nodes.items():
            if met.place == place and other != node and not met.gone:
                raise ConfigError(
                    f"nodes {other} and {node} are both party {self.params.roster[place].id}: give "
                    "each node the keyring of its own party"
                )
        new = _Met(place, hello, said.hello, hello.opened)
        self._nodes[node] = self._back(new) if self._next else new

    def _back(self, new: _Met) -> _Met:
        """Return who comes, or comes back, to a run that has begun: maybe at another node."""
        params = self._known()
        for node, met in self._nodes.items():
            if met.place == new.place:
                if met.said != new.said:
                    raise ContextMismatchError(
                        f"party {params.roster[new.place].id} no longer has what it kept of this "
                        "run: its group waits for the next one"
                    )
                del self._nodes[node]
                met.gone = False
                return met
        if params.names_cohorts:
            raise ContextMismatchError(
                f"party {params.roster[new.place].id} was not there when masks were agreed on: it "
                "waits for the next run"
            )
        check_alike(params, {met.place: met.hello for met in (*self._nodes.values(), new)})
        return new

    def left(self, here: Iterable[Node]) -> None:
        """Note which nodes the engine still has; the others are gone."""
        for node in self._nodes.keys() - set(here):
            self._nodes[node].gone = True

    def _agree(self, node: Node, data: bytes) -> None:
        read = Parameters.from_bytes(data)
        if self.params is None:
            self.params = read
        elif read != self.params:
            held = "given to the server" if self._given else "of the others"
            raise ContextMismatchError(
                f"the parameters of node {node} ({read.fingerprint.hex()[:16]}) are not those "
                f"{held} ({self.params.fingerprint.hex()[:16]}): all parties take the same file"
            )

    def settle(self) -> bool:
        """Check that those who said hello can begin.

        Returns:
            Whether they can; if not, all are to be greeted once more, with a common first round.

        Raises:
            QuorumError: A party of the roster is missing, or they are too few.
            ContextMismatchError: They differ in what all must have alike; says in what.
        """
        params = self.params
        if params is None:
            raise QuorumError(
                "no node said hello: does every client have privfed's mod or filter, and its keys?"
            )
        hellos = {met.place: met.hello for met in self._nodes.values()}
        missing = [each.id for place, each in enumerate(params.roster) if place not in hellos]
        if missing and not self._may_miss:
            raise QuorumError(
                f"{len(missing)} of {len(params.roster)} parties did not say hello, among them "
                f"{', '.join(missing[:3])}: start their nodes, or let the run begin without them "
                "(may_miss=True)"
            )
        first = max(hello.first_round for hello in hellos.values())
        if any(hello.first_round != first for hello in hellos.values()):
            if self._first_round is not None:
                raise ContextMismatchError("a party does not begin with the round it was told")
            self._first_round = first
            return False
        check_alike(params, hellos)
        self._first_round = self._next = first
        return True

    # -- rounds ----------------------------------------------------------------------------------

    def begin(self, nodes: Iterable[Node]) -> dict[Node, Packet]:
        """Begin a round of all whole groups among some nodes.

        Args:
            nodes: Who may be asked.

        Returns:
            What each of those that are in the round is asked; the others wait.

        Raises:
            QuorumError: They are too few.
        """
        params = self._known()
        present = {
            met.place: node
            for node in nodes
            if (met := self._nodes.get(node)) is not None and not met.gone
        }
        places = set(present)
        if params.groups:
            whole = [group for group in params.groups if places >= set(group)]
            places = {place for group in whole for place in group}
        if len(places) < params.quorum:
            gone = [params.roster[met.place].id for met in self._nodes.values() if met.gone]
            raise QuorumError(
                f"{len(places)} parties in whole groups are there and a round needs "
                f"{params.quorum}" + f"; gone: {', '.join(gone)}" * bool(gone)
            )
        cohort = tuple(sorted(places)) if params.names_cohorts else None
        of = PastRound(self._next, cohort)
        self._next += 1
        self._round = _Round(of, Aggregator(params, of.round_id, cohort), set(places))
        return {
            present[place]: self._packet(present[place], "train", of) for place in sorted(places)
        }

    def show(self, nodes: Iterable[Node], purpose: Purpose = "evaluate") -> dict[Node, Packet]:
        """Return what nodes are asked about the model: figures, or to keep it."""
        here = [node for node in nodes if (met := self._nodes.get(node)) and not met.gone]
        return {node: self._packet(node, purpose, PastRound(0)) for node in here}

    def _packet(self, node: Node, purpose: Purpose, of: PastRound) -> Packet:
        met = self._nodes[node]
        past = [each for each in self._totals.rounds if each.round_id > met.opened]
        hellos: list[bytes] = []
        initial = self._base is None and not met.initial
        if not met.entered and (purpose == "train" or initial):
            group = self._known().group_of(met.place) if purpose == "train" else ()
            hellos = [
                each.said for each in self._nodes.values() if not group or each.place in group
            ]
        ask = Assignment(purpose, of.round_id, of.cohort, tuple(past), tuple(hellos))
        return Packet(encode(ask), tuple(map(self._totals.get, past)), initial)

    def took(self, node: Node, answer: bytes) -> None:
        """Note what a node has done.

        Raises:
            PeerError: It refused; says what that means.
            DecodeError: These bytes are no answer.
        """
        said = self._answer(node, answer)
        if not isinstance(said, Done):
            raise DecodeError(f"node {node} answers something else than it was asked")
        if node not in self._nodes:
            raise DecodeError(f"node {node} answers, and never said who it is")
        met = self._nodes[node]
        met.opened, met.initial = max(met.opened, said.opened), True

    def add(self, node: Node, answer: bytes, upload: bytes) -> None:
        """Add a node's upload to the round's sum.

        Raises:
            PeerError: It refused; says what that means.
            AuthenticationError: The upload is not what its party signed.
            PrivFedError: It does not belong to this round; `Aggregator.add` says which errors
                there are.
            ConfigError: No round has begun.
        """
        self.took(node, answer)
        if self._round is None:
            raise ConfigError("no round has begun")
        try:
            self._round.sum.add(upload)
        except (AuthenticationError, DecodeError) as error:
            raise type(error)(
                f"the upload of node {node} was changed on its way ({error}): nothing comes "
                "between privfed and the server, neither a mod nor a filter"
            ) from None
        met = self._nodes[node]
        met.entered = True
        self._round.heard.add(met.place)

    def total(
        self, ask: Ask[Node] | None = None, tell: Callable[[str], object] = lambda line: None
    ) -> bytes:
        """Close the round, and have its openers open it where the parameters say so.

        Args:
            ask: Asks openers: sends packets, returns what each node says in time; None: nobody is
                asked, and all get the total.
            tell: Told what openers did wrong; the round goes on without them.

        Returns:
            Its checkpoint: what a later run can resume from.

        Raises:
            QuorumError: Too few parties or whole groups sent; nothing was opened.
            ConfigError: No round has begun.
        """
        if self._round is None:
            raise ConfigError("no round has begun")
        begun, self._round = self._round, None
        for met in self._nodes.values():
            if met.place in begun.asked - begun.heard:
                met.gone = True
        self._totals.put(begun.of, begun.sum.total())
        if ask is not None and (result := self._open(begun, ask, tell)):
            self._totals.replace(begun.of, result)
        return write_checkpoint(begun.of, self._totals.get(begun.of))

    def _open(self, begun: _Round, ask: Ask[Node], tell: Callable[[str], object]) -> bytes:
        """Return what enough openers of a round's total have signed; empty if too few do."""
        if self._known().download_mode != "opener":
            return b""
        roster = self._known().roster
        here = {roster[met.place].id: node for node, met in self._nodes.items() if not met.gone}
        order = [here[name] for name in begun.sum.openers if name in here]
        opening = AskedOpeners(begun.sum, order, self._known().openers)
        while nodes := opening.next():
            packets = {node: self._packet(node, "open", begun.of) for node in nodes}
            silent = set(packets)
            for node, answer, result in ask(packets):
                silent.discard(node)
                try:
                    self.took(node, answer)
                    opening.add(node, result)
                except PrivFedError as error:
                    tell(f"node {node} opens no total for the others: {error}")
            for node in silent:
                tell(f"node {node} opens no total for the others: it does not answer")
        if not opening.result:
            tell("too few parties open the total for the others: each gets it")
        return opening.result

    @property
    def senders(self) -> tuple[str, ...]:
        """Ids of those in the sum of the round that has begun."""
        return () if self._round is None else self._round.sum.senders

    @property
    def gone(self) -> dict[Node, str]:
        """Nodes that did not send when they were asked, and their parties' ids."""
        roster = self._known().roster
        return {node: roster[met.place].id for node, met in self._nodes.items() if met.gone}

    def strangers(self, nodes: Iterable[Node]) -> set[Node]:
        """Return those of some nodes that have not said hello."""
        return set(nodes) - self._nodes.keys()

    def close(self) -> None:
        """Forget the totals."""
        self._totals.close()

    def _known(self) -> Parameters:
        if self.params is None or not self._next:
            raise ConfigError("nobody has said hello yet")
        return self.params

    def _answer(self, node: Node, data: bytes) -> Present | Done:
        said = read_answer(data)
        if isinstance(said, Refused):
            met = self._nodes.get(node)
            who = f"node {node}"
            if met is not None and self.params is not None:
                who += f" (party {self.params.roster[met.place].id})"
            hint = _HINTS.get(said.reason, "something went wrong there")
            raise PeerError(f"{who} refused with {said.reason}: {hint}; its own log says more")
        return said


@dataclass
class _Round:
    """A round that has begun."""

    of: PastRound
    sum: Aggregator
    asked: set[int]
    heard: set[int] = field(default_factory=set)
