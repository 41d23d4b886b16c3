"""Who takes part in a job, in which groups, and against whom it is to hold."""

from dataclasses import dataclass
from functools import cached_property

from privfed.errors import ConfigError
from privfed.keys import PublicIdentity
from privfed.secagg.adversary import Adversary, default_adversary
from privfed.secagg.groups import Places, check_sizes, even_sizes, places_of

MAX_ROSTER = 4096


@dataclass(frozen=True, kw_only=True)
class Participants:
    """What `Parameters` say of the parties; each attribute is described there."""

    max_clients: int
    roster: tuple[PublicIdentity, ...]
    min_clients: int | None = None
    adversary: str | None = None
    group_sizes: tuple[int, ...] | None = None
    noise_shares: bool = False
    aggregators: tuple[PublicIdentity, ...] = ()

    def _check_roster(self) -> None:
        """Check who is on the roster, and choose the adversary where none is given."""
        if not self.max_clients <= len(self.roster) <= MAX_ROSTER:
            raise ConfigError(
                f"the roster has {len(self.roster)} parties; give max_clients={self.max_clients} "
                f"to {MAX_ROSTER}"
            )
        for name in ("roster", "aggregators"):
            parties = getattr(self, name)
            if len({party.verify_key for party in parties}) != len(parties):
                raise ConfigError(f"a party is in {name} twice")
        if self.adversary is None:
            object.__setattr__(self, "adversary", default_adversary(self.max_clients))

    def _check_groups(self) -> None:
        """Choose groups and quorum, where they are not given, and check them."""
        least = self.assumed.least_together
        object.__setattr__(self, "group_sizes", self._sizes(least))
        if self.min_clients is None:
            object.__setattr__(self, "min_clients", min(self.group_sizes or (least,)))
        if not least <= self.quorum <= self.max_clients:
            raise ConfigError(
                f"min_clients must be {least} to max_clients={self.max_clients}, "
                f"not {self.min_clients}: a sum over fewer shows one party's update"
            )

    def _sizes(self, least: int) -> tuple[int, ...]:
        """Return how many parties are in each group."""
        if self.noise_shares or not self.assumed.lies:
            if self.group_sizes:
                raise ConfigError(
                    "there are no groups for an honest server or with noise shares: leave "
                    "group_sizes out"
                )
            return ()
        parties, sizes = len(self.roster), self.group_sizes
        if sizes is None:
            sizes = even_sizes(parties, least)
        check_sizes(sizes, parties, least)
        if max(sizes) > self.max_clients:
            raise ConfigError(
                f"a group of {max(sizes)} parties never fits a round of max_clients="
                f"{self.max_clients}: raise max_clients, or cut the roster with group_sizes"
            )
        return sizes

    @cached_property
    def assumed(self) -> Adversary:
        """What the adversary may do."""
        return Adversary.of(self.adversary or default_adversary(self.max_clients))

    @cached_property
    def groups(self) -> tuple[Places, ...]:
        """Roster places of each group; none where any parties make a round."""
        return places_of(self.group_sizes or ())

    @property
    def quorum(self) -> int:
        """Fewest parties in one round: `min_clients`, which is never None afterwards."""
        return self.min_clients or self.assumed.least_together

    def group_of(self, place: int) -> Places:
        """Return the group of a roster place; nothing where there are no groups."""
        return self._groups_by_place.get(place, ())

    @cached_property
    def _groups_by_place(self) -> dict[int, Places]:
        return {place: group for group in self.groups for place in group}

    def index_of(self, party: PublicIdentity) -> int:
        """Return the place of a party on the roster.

        Raises:
            ConfigError: It is not on the roster.
        """
        if not isinstance(party, PublicIdentity):
            raise ConfigError("a party is found on the roster by its PublicIdentity")
        for index, other in enumerate(self.roster):
            if other.verify_key == party.verify_key:
                if other != party:
                    raise ConfigError(f"party {party.id} is on the roster with another mask key")
                return index
        raise ConfigError(f"party {party.id} is not on the roster")
