"""Keys for a simulation: all keyrings in one folder, so that nothing is hidden from its owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privfed.errors import ConfigError
from privfed.integrations.travels import PLAN, write_plan
from privfed.secagg import Keyring, Layout, Parameters, PublicIdentity

if TYPE_CHECKING:  # SciPy comes with it
    from privfed.dp import PrivacyPlan


def simulated_keys(
    folder: Path,
    arrays: Mapping[str, Any] | None = None,
    *,
    parties: int | Sequence[str] | None = None,
    plan: PrivacyPlan | None = None,
    job: str = "simulation",
    clip_range: float = 8.0,
    bits: int = 16,
    max_weight: int | None = None,
    **settings: Any,
) -> Parameters:
    """Make a keyring a party in `folder/0`, `folder/1`, … or by name, without a passphrase.

    Companies make their own, each on its machine: `privfed keys identity`, `make`, `accept`.

    Args:
        folder: Where; it must hold no keyrings yet.
        arrays: Numpy arrays or a torch state_dict like the model; not needed with a plan.
        parties: How many, or how the engine calls them; not needed with a plan.
        plan: A client-level plan with noise="shares": uploads are then clipped and noised.
        job: Name of the job.
        clip_range: Largest magnitude of a value.
        bits: Precision of a value.
        max_weight: Largest weight of a party, such as its rows: the closest round number that no
            party is above; None: all count the same.
        settings: Further ones of `Parameters`.

    Returns:
        The parameters of all.

    Raises:
        ConfigError: The settings do not fit, or the folder holds keyrings.
    """
    if plan is None and (arrays is None or parties is None):
        raise ConfigError("give the model's arrays and the number of parties, or a plan")
    if plan is not None and (parties is None or isinstance(parties, int)):
        parties = plan.parties
    names = range(parties) if isinstance(parties, int) else parties or ()
    rings = [Keyring.create(folder / str(name), unlocked=True) for name in names]
    roster = tuple(ring.identity.public for ring in rings)
    if plan is not None:
        params = _shared(plan, roster, rings)
    else:
        params = Parameters(
            job=job,
            layout=Layout.of(arrays or {}),
            clip_range=clip_range,
            bits=bits,
            max_clients=len(rings),
            max_weight=max_weight,
            roster=roster,
            **settings,
        )
    sealed = rings[0].make(params)
    for ring in rings[1:]:
        ring.accept(sealed[ring.identity.public.id], params)
    return params


def _shared(
    plan: PrivacyPlan, roster: tuple[PublicIdentity, ...], rings: list[Keyring]
) -> Parameters:
    from privfed.training.noisy_sums import share_parameters

    for ring in rings:
        write_plan(ring.folder / PLAN, plan)
    return share_parameters(plan, roster)
