"""Which parameters may follow those in use, when parties leave."""

from collections.abc import Collection
from dataclasses import replace

from privfed.errors import ConfigError
from privfed.keys import PublicIdentity
from privfed.secagg.parameters import Parameters


def without(old: Parameters, leaving: Collection[int], *, regroup: bool = False) -> Parameters:
    """Return parameters whose roster lacks some places.

    Args:
        old: Those in use.
        leaving: The places. Groups of which nobody leaves stay as they are.
        regroup: Whether those that are left are cut into groups anew; where leaving parties are
            not whole groups, they are in any case.

    Raises:
        ConfigError: Too few parties would be left.
    """
    gone = set(leaving)
    roster = tuple(party for place, party in enumerate(old.roster) if place not in gone)
    sizes = old.group_sizes or ()
    # A quorum that is the smallest group stays that of the groups that are left.
    quorum = None if old.quorum == min(sizes, default=0) else old.quorum
    least = quorum or old.assumed.least_together
    if len(roster) < least:
        raise ConfigError(f"only {len(roster)} parties would be left, below min_clients={least}")
    stay = tuple(len(group) for group in old.groups if not gone.intersection(group))
    whole = sum(stay) == len(roster) and not regroup
    return replace(
        old,
        roster=roster,
        max_clients=min(old.max_clients, len(roster)),
        min_clients=quorum,
        group_sizes=stay if whole or not old.groups else None,
    )


def follows(old: Parameters, new: Parameters) -> bool:
    """Return whether parameters are those in use, or those less some parties."""
    leaving = [place for place, party in enumerate(old.roster) if party not in new.roster]
    try:
        return any(new == without(old, leaving, regroup=regroup) for regroup in (False, True))
    except ConfigError:  # too few are left
        return False


def group_ids(params: Parameters, party: PublicIdentity) -> frozenset[str]:
    """Return the ids of a party's group, itself among them; nothing where there are no groups."""
    places = params.group_of(params.index_of(party))
    return frozenset(params.roster[place].id for place in places)
