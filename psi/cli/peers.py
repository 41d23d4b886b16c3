"""Who the other sides are: their certificates, and what was said of these by telephone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from psi.errors import ConfigError

__all__ = ["check_fingerprints", "known_peers", "one_peer"]


def known_peers(files: Sequence[Path] | None, typed: Sequence[str] | None) -> dict[str, bytes]:
    """Return the certificate of each peer, by the name of its file.

    Raises:
        ConfigError: There is none, or one cannot be trusted; or two have one name or are the same.
    """
    from psi.network.certificates import fingerprint, load_certificate

    if not files:
        alone = " (its fingerprint alone is not enough: TLS needs all of it)" if typed else ""
        raise ConfigError(f"give the other side's certificate with --peer{alone}")
    found: dict[str, bytes] = {}
    for path in files:
        if path.stem in found:
            raise ConfigError(f"two files of --peer are called {path.stem}: rename one of them")
        found[path.stem] = load_certificate(path)
    if len({fingerprint(each) for each in found.values()}) != len(found):
        raise ConfigError("two files of --peer hold the same certificate: leave one out")
    check_fingerprints({str(path): found[path.stem] for path in files}, typed)
    return found


def one_peer(file: Path | None, typed: Sequence[str] | None) -> bytes:
    """Return the certificate of the only peer.

    Raises:
        ConfigError: It is not given, or cannot be trusted.
    """
    (certificate,) = known_peers([] if file is None else [file], typed).values()
    return certificate


def check_fingerprints(certificates: Mapping[str, bytes], typed: Sequence[str] | None) -> None:
    """Refuse a certificate whose fingerprint was not typed, if any was.

    Raises:
        ConfigError: One is missing, one is of no certificate, or one is no whole fingerprint.
    """
    from psi.network.certificates import check_fingerprint, fingerprint, plain_fingerprint

    if not typed:
        return
    if len(typed) != len(certificates):
        raise ConfigError(
            f"--peer-fingerprint is given {len(typed)} times for {len(certificates)} certificates: "
            "give it once for each, in any order"
        )
    said = {plain_fingerprint(each) for each in typed}
    for name, certificate in certificates.items():
        if plain_fingerprint(fingerprint(certificate)) not in said:
            check_fingerprint(certificate, typed[0], name)
