"""`psi health`: whether a side that serves is well, for those who watch over it."""

from typing import Annotated

import typer

from psi.cli import options
from psi.cli.peers import one_peer
from psi.cli.shared import network, own_identity
from psi.defaults import HEALTH_SECONDS
from psi.errors import TransportError

__all__ = ["health"]


def health(
    address: Annotated[str, typer.Argument(help="HOST:PORT of the side that serves.")],
    identity: options.IdentityFile,
    peer: options.OnePeer = None,
    peer_fingerprint: options.Fingerprints = None,
    passphrase_file: options.PassphraseFile = None,
    wait: options.Wait = HEALTH_SECONDS,
) -> None:
    """Ask a side that serves whether it is well; without --peer it has this side's own key."""
    own = own_identity(identity, passphrase_file)
    there = own.certificate if peer is None else one_peer(peer, peer_fingerprint)
    with network("tls").secure_channel(address, own, there, 1 << 10) as channel:
        if not network("greeting").is_healthy(channel, address, wait):
            raise TransportError(
                f"what listens at {address} cannot hold a session now: look at its screen or log"
            )
    print("serving")
