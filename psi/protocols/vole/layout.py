"""All sizes of a session; both sides derive them from the sizes of the two sets."""

from dataclasses import dataclass
from typing import Self

from psi.keyvalue import StoreSizes, bin_room, most_held
from psi.vole import VolePlan

__all__ = ["MOST_ITEMS", "SessionSizes", "most_tested"]

MOST_ITEMS = 1 << 27  # the bounds on failures hold up to here
_BUCKET_ITEMS = 1 << 17  # the store of a bucket fits a chunk of the vector OLE
_PART_TAGS = 1 << 18  # more than a bucket of equal sets has


@dataclass(frozen=True)
class SessionSizes:
    """The sizes of one session.

    Attributes:
        buckets: How many parts a hash cuts the sets into; a power of two.
        receiver_items: The most items of the receiver that a bucket takes.
        sender_items: The items of the sender in each bucket, with dummies.
        part_tags: How many tags a message has at most.
    """

    buckets: int
    receiver_items: int
    sender_items: int
    part_tags: int

    @classmethod
    def of(cls, n_receiver: int, n_sender: int) -> Self:
        """Return the sizes for sets of these sizes."""
        parts = -(-n_receiver // _BUCKET_ITEMS)
        buckets = 1 << max(parts - 1, 0).bit_length()
        receiver_items, sender_items = bin_room(n_receiver, buckets), bin_room(n_sender, buckets)
        return cls(buckets, receiver_items, sender_items, _PART_TAGS)

    @property
    def tags(self) -> int:
        """How many tags the sender sends in all."""
        return self.buckets * self.sender_items

    @property
    def parts(self) -> int:
        """In how many messages a bucket's tags are sent."""
        return max(1, -(-self.sender_items // self.part_tags))

    def tags_in(self, part: int) -> int:
        """Return how many tags a part of a bucket has: the last one has the rest."""
        return min(self.part_tags, self.sender_items - part * self.part_tags)

    @property
    def store(self) -> StoreSizes:
        """The sizes of the store of a bucket."""
        return StoreSizes.of(self.receiver_items)

    @property
    def plan(self) -> VolePlan:
        """What the vector OLE gives: an element for each entry of every store."""
        return VolePlan.of(self.buckets, self.store.slots)


def most_tested(n_receiver: int) -> int:
    """Return how many items a receiver that announces so many can test if it cheats.

    Whatever its stores hold: `psi.keyvalue.most_held` says against whom that is proved.
    """
    sizes = SessionSizes.of(n_receiver, 0)
    return sizes.buckets * most_held(sizes.store.slots)
