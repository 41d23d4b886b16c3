"""A client's own settings: from its environment and its engine, never from the job."""

from __future__ import annotations

import os

from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext

from privfed.errors import ConfigError
from privfed.integrations.messages import Travels
from privfed.integrations.party import EmbeddedParty
from privfed.integrations.settings import names_in, party_in

KEYS, PASSPHRASE_FILE, REVEAL = "PRIVFED_KEYS", "PRIVFED_PASSPHRASE_FILE", "PRIVFED_REVEAL"


def party_of(fl_ctx: FLContext, travels: Travels) -> EmbeddedParty:
    """Return the party of this client.

    Raises:
        ConfigError: It has no keys.
        AuthenticationError: The passphrase is wrong or a file was altered.
    """
    named = os.environ.get(KEYS)
    if not named:
        raise ConfigError(
            f"this client has no keys: set {KEYS} in its environment, to its keyring folder, or in "
            "a simulation to a folder of such by client name"
        )
    name, file = str(fl_ctx.get_identity_name()), os.environ.get(PASSPHRASE_FILE)
    return party_in(named, name, file, run_of(fl_ctx), travels)


def run_of(fl_ctx: FLContext) -> str:
    """Return the name of the run: the job's id.

    The simulator calls every job alike; the address of its server tells its runs apart.
    """
    run = f"nvflare/{fl_ctx.get_job_id()}"
    if fl_ctx.get_prop(FLContextKey.SIMULATE_MODE):
        run += f"/{fl_ctx.get_prop(FLContextKey.ARGS).sp_target}"
    return run


def revealed() -> set[str]:
    """Return the names of the metrics that the server may read."""
    return names_in(os.environ.get(REVEAL, ""))
