"""A client's own settings: from its environment and its engine, never from the job."""

from __future__ import annotations

import os
from pathlib import Path

from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext

from privfed.errors import ConfigError
from privfed.integrations.messages import Travels
from privfed.integrations.party import EmbeddedParty
from psi.storage import read_passphrase

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
    folder = Path(named).expanduser()
    own = folder / str(fl_ctx.get_identity_name())
    if (own / "identity.key").is_file():
        folder = own
    file = os.environ.get(PASSPHRASE_FILE)
    passphrase = read_passphrase(Path(file), refusal=ConfigError) if file else None
    return EmbeddedParty(folder, run_of(fl_ctx), passphrase, travels=travels)


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
    return {each.strip() for each in os.environ.get(REVEAL, "").split(",")} - {""}
