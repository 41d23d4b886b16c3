"""What guest and host have in common as they grow trees: plan, state, frames, transfers.

    hellos · keys · agreed, then for each level of each tree

    nodes         guest: encrypted residuals, and a request for the sides of its rows
    shared sums   host: masked answers, and a request for the labels of its input bits
    contest       guest: garbled; the host learns which of its splits won where
    sides         host: the colours of who won, and the masked sides

and at the end the guest says how many trees are kept. Where histograms are revealed, the two in the
middle are the sums themselves (in an order of splits that is the host's secret, drawn anew in each
session) and the place of the split that won each node.
"""

import hashlib
import secrets
from abc import abstractmethod
from typing import ClassVar, TypeVar

from privfed.errors import ContextMismatchError
from privfed.garbled import Lengths, TransferReceiver, TransferSender
from privfed.he.ring import PublicKey
from privfed.vertical.frames import FramedDialogue
from privfed.vertical.messages import CHOICES_BYTES, NONCE_BYTES, POINT_BYTES
from privfed.vertical.roles import Role
from privfed.vertical.trees.contest import contest
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.sides import SidesLengths
from privfed.vertical.trees.state import TreesState
from psi.errors import StateError
from psi.network import Progress

__all__ = ["NO_SPLIT", "TreesSide", "there"]

Kept = TypeVar("Kept")
NO_SPLIT = 2**32 - 1  # the place of none, where sums open
_FINGERPRINT_BYTES = 32
_SPLIT_BYTES = 4  # of a split's place, as it is chosen among sums that opened
_COUNT_BYTES = 4


class TreesSide(FramedDialogue):
    """One company as trees grow: takes messages in turn and answers each.

    An error ends it, and it forgets its key and its transfers; the last state that it told of then
    goes on in another session.
    """

    protocol = "privfed vertical trees"
    role: ClassVar[Role]

    def __init__(self, plan: TreesPlan, state: TreesState, progress: Progress | None) -> None:
        """Prepare one side.

        Args:
            plan: What both sides agreed on.
            state: What it goes on with.
            progress: Called with a stage, the trees grown and their number.

        Raises:
            ConfigError: The state is of another plan, or went on too often.
        """
        super().__init__(progress)
        state.check(plan)
        self.plan = plan
        self._identity = b""
        self._level = 0
        self._gives: TransferSender | None = None
        self._gets: TransferReceiver | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.plan.rows} rows)"

    @property
    @abstractmethod
    def state(self) -> TreesState:
        """How far this side is."""

    @property
    def model(self) -> bytes:
        """32 bytes that name the model, the same at both sides.

        Raises:
            StateError: The session is not done.
        """
        self._require_done()
        named = b"privfed vertical trees, " + self._transcript.digest
        return hashlib.sha256(named).digest()

    # -- frames ----------------------------------------------------------------------------------

    @property
    def _number(self) -> int:
        if not self._identity:  # of two sides that meet one may be a tree ahead
            return 0
        return self.state.grown * self.plan.depth + self._level

    @property
    def _hello(self) -> bytes:
        return self.plan.fingerprint() + self.state.offer() + secrets.token_bytes(NONCE_BYTES)

    @property
    def _hello_lengths(self) -> list[int]:
        return [_FINGERPRINT_BYTES, TreesState.offer_bytes(), NONCE_BYTES]

    def _check_plan(self, fingerprint: memoryview) -> None:
        if fingerprint != self.plan.fingerprint():
            raise ContextMismatchError(
                "the other side has another plan: agree on family, trees, depth, rows, splits and "
                "what is revealed, and start again"
            )

    def _draw(self) -> None:
        """Begin the session: both hellos are in."""
        self._identity = self._transcript.begin_session()
        # Each way has a name of its own, as pads of both are hashed under it.
        labels, sides = (self._identity + way for way in (b"labels", b"sides"))
        guest = self.role == "guest"
        self._gives = TransferSender(labels if guest else sides)
        self._gets = TransferReceiver(sides if guest else labels)

    def _agree(self, public: memoryview, choices: memoryview) -> None:
        self._sender.agree(public)
        self._receiver.agree(choices)

    @property
    def _sender(self) -> TransferSender:
        return there(self._gives)

    @property
    def _receiver(self) -> TransferReceiver:
        return there(self._gets)

    def _forget(self) -> None:
        self._gives = self._gets = None

    # -- a level ---------------------------------------------------------------------------------

    @property
    def _nodes(self) -> int:
        return int(2**self._level)

    @property
    def _keys_lengths(self) -> list[int]:
        key = PublicKey.size_bytes(ring=self.plan.sums.ring)
        return [key, CHOICES_BYTES, POINT_BYTES]

    @property
    def _agreed_lengths(self) -> list[int]:
        return [POINT_BYTES, CHOICES_BYTES]

    @property
    def _sides_lengths(self) -> SidesLengths:
        return SidesLengths.of(self.plan.rows, self._nodes)

    @property
    def _nodes_lengths(self) -> list[int]:
        return [self.plan.sums.ciphertexts_bytes(self._nodes), self._sides_lengths.request]

    @property
    def _contest_lengths(self) -> Lengths:
        return Lengths.of(contest(self.plan.contest(self._nodes)))

    @property
    def _sums_lengths(self) -> list[int]:
        answers = self.plan.sums.answers_bytes(self._nodes)
        return [answers, self._contest_lengths.request] if self._hides else [answers]

    @property
    def _won_lengths(self) -> list[int]:
        return [self._contest_lengths.garbled if self._hides else _SPLIT_BYTES * self._nodes]

    @property
    def _answered_lengths(self) -> list[int]:
        masked = self._sides_lengths.masked
        return [self._contest_lengths.colours, masked] if self._hides else [masked]

    @property
    def _end_lengths(self) -> list[int]:
        return [_COUNT_BYTES]

    @property
    def _hides(self) -> bool:
        return self.plan.reveal == "sides"

    def _tell(self) -> None:
        self._progress("training", self.state.grown, self.plan.most_trees)


def there(kept: Kept | None) -> Kept:
    """Return what a session has.

    Raises:
        StateError: It does not have it: it did not begin, or is over.
    """
    if kept is None:
        raise StateError("this session has no other side, or is over: start a new one")
    return kept
