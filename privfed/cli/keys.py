"""`privfed keys`: the life of a party's keys, one folder per party."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privfed.cli.keys_files import named_file, read_file, read_params
from privfed.cli.keys_plan import compare, plan, trusted
from privfed.cli.words import in_command_words
from privfed.errors import AuthenticationError, ConfigError
from psi.cli.passphrases import known_passphrase, new_passphrase
from psi.defaults import CERTIFICATE_DAYS
from psi.storage import check_folder, check_place, whole_file

if TYPE_CHECKING:
    from privfed.secagg import Keyring, Parameters, PublicIdentity

app = typer.Typer(no_args_is_help=True, help="Make, hand over, rotate and revoke keys.")

Folder = Annotated[Path, typer.Argument(help="This party's keyring folder.", show_default=False)]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="File whose first line locks the keys; without it the terminal is asked, where they "
        "are locked."
    ),
]
Days = Annotated[int, typer.Option(help="How long the certificate is valid.")]
ParamsFile = Annotated[Path, typer.Option(help="Parameters, as `privfed keys plan` wrote them.")]
Out = Annotated[Path, typer.Option(help="Folder for one sealed key a party.")]
Force = Annotated[
    bool, typer.Option("--force", help="Replace sealed keys that are in the folder of --out.")
]
Regroup = Annotated[
    bool,
    typer.Option(
        "--regroup",
        help="Others than before may be in this party's group: the updates to come are of other "
        "rows, so that sums of both groups, compared, show nobody's update.",
    ),
]


@app.command()
def identity(
    folder: Folder,
    days: Days = CERTIFICATE_DAYS,
    passphrase_file: PassphraseFile = None,
    unlocked: Annotated[
        bool,
        typer.Option("--unlocked", help="No passphrase: keys are left to their files' mode, 0600."),
    ] = False,
) -> None:
    """Make this party's identity and its certificate, for aggregation and for psi."""
    from privfed.secagg import Keyring

    passphrase = new_passphrase(passphrase_file, unlocked=unlocked, refusal=ConfigError)
    made = Keyring.create(folder, passphrase, unlocked=unlocked, days=days)
    _say_who(made.certificate)
    _say_whom_to_give(folder)


@app.command()
def certify(
    folder: Folder, days: Days = CERTIFICATE_DAYS, passphrase_file: PassphraseFile = None
) -> None:
    """Make a certificate for a keyring that has none, or a new one before it expires."""
    _say_who(_open(folder, passphrase_file).certify(days=days))
    _say_whom_to_give(folder)


@app.command()
def check(
    certificate: Annotated[Path, typer.Argument(help="What another party gave to this one.")],
    known: Annotated[
        Path | None, typer.Option(help="The certificate by which this one knew it before.")
    ] = None,
) -> None:
    """Say whose a certificate is: the fingerprint to compare, or that it is the party known."""
    from privfed.secagg import PublicIdentity

    with named_file(certificate):
        party = _say_who(read_file(certificate))
    if known is not None:
        with named_file(known):
            before = PublicIdentity.from_certificate(read_file(known))
        if before != party:
            raise AuthenticationError(f"{certificate} is of another party than {known}")
        print(f"the party of {known}: no fingerprint to compare")


app.command()(plan)
app.command()(compare)


@app.command()
def show(folder: Folder, passphrase_file: PassphraseFile = None) -> None:
    """Say who this party is and which keys it uses and retired; no secret is shown."""
    keyring = _open(folder, passphrase_file)
    try:
        _say_who(keyring.certificate)
    except ConfigError as not_made:
        print(f"party    {keyring.identity.public.id}")
        print(f"SHA-256  none ({in_command_words(str(not_made))})")
    try:
        print(f"job      {keyring.params.job}")
        print(f"params   {keyring.params.fingerprint.hex()}")
        print(f"against  {keyring.params.adversary}{trusted(keyring.params)}")
        group = keyring.params.group_of(keyring.params.index_of(keyring.identity.public))
        if group:
            print(f"group    {', '.join(keyring.params.roster[place].id for place in group)}")
        print(f"key      {keyring.current}")
    except ConfigError as nothing_yet:
        print(f"key      none ({in_command_words(str(nothing_yet))})")
    for name in sorted(keyring.retired):
        print(f"retired  {name}")


@app.command()
def make(
    folder: Folder,
    params: ParamsFile,
    out: Out,
    force: Force = False,
    regroup: Regroup = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make the parties' shared key, and seal it to each other party on the roster."""
    keyring = _open(folder, passphrase_file)
    agreed = read_params(params)
    _check_out(agreed, out, force)
    _hand_out(keyring, keyring.make(agreed, regroup=regroup), out, force)


@app.command()
def accept(
    folder: Folder,
    sealed: Annotated[Path, typer.Argument(help="The key sealed to this party.")],
    params: ParamsFile,
    maker: Annotated[
        str | None, typer.Option(help="Id of the party that must have made it.")
    ] = None,
    changed: Annotated[
        bool,
        typer.Option(
            "--changed",
            help="The parameters are others on purpose, or this first key takes the place of the "
            "one in use; I compared them over a trusted channel.",
        ),
    ] = False,
    regroup: Regroup = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Take the shared key that another party made; retires the one it replaces."""
    keyring, agreed = _open(folder, passphrase_file), read_params(params)
    made_by = None
    if maker is not None:
        made_by = next((party for party in agreed.roster if party.id == maker), None)
        if made_by is None:
            raise ConfigError(f"party {maker} is not on the roster")
    with named_file(sealed):
        key = keyring.accept(read_file(sealed), agreed, made_by, changed=changed, regroup=regroup)
    print(f"key {key}")


@app.command()
def rotate(
    folder: Folder, out: Out, force: Force = False, passphrase_file: PassphraseFile = None
) -> None:
    """Replace the shared key by a new one for the same parties."""
    keyring = _open(folder, passphrase_file)
    _check_out(keyring.params, out, force)
    _hand_out(keyring, keyring.rotate(), out, force)


@app.command()
def revoke(
    folder: Folder,
    party: Annotated[str, typer.Option(help="Id of the party that leaves.")],
    params_out: Annotated[Path, typer.Option(help="File for the new parameters.")],
    out: Out,
    force: Force = False,
    regroup: Annotated[
        bool,
        typer.Option(
            "--regroup",
            help="Keep the others of its group, in new groups; else its group leaves with it.",
        ),
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Take a party off the roster, with its group, and make a key that it does not get."""
    keyring = _open(folder, passphrase_file)
    if params_out.exists():
        raise ConfigError(f"{params_out} is there already; give another file")
    check_place(params_out)
    _check_out(keyring.params, out, force)
    changed, sealed = keyring.revoke(party, regroup=regroup)
    with whole_file(params_out) as file:
        file.write(changed.to_bytes())
    _hand_out(keyring, sealed, out, force)


def _open(folder: Path, passphrase_file: Path | None) -> Keyring:
    from privfed.secagg import Keyring

    key = folder / "identity.key"
    return Keyring(folder, known_passphrase(passphrase_file, key, refusal=ConfigError))


def _say_who(certificate: bytes) -> PublicIdentity:
    from privfed.secagg import PublicIdentity
    from psi.network.certificates import fingerprint, one_certificate

    party = PublicIdentity.from_certificate(certificate)
    print(f"party    {party.id}")
    print(f"SHA-256  {fingerprint(certificate)}")
    end = one_certificate(certificate, "the certificate").not_valid_after_utc
    print(f"until    {end:%Y-%m-%d}")
    return party


def _say_whom_to_give(folder: Path) -> None:
    print(f"give {folder / 'tls.crt'} to the other parties; they compare SHA-256 by telephone")


def _check_out(params: Parameters, out: Path, force: bool) -> None:
    """Refuse before a key is made a folder to which sealed keys cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}") from None
    check_folder(out)
    for party in params.roster:
        check_place(_sealed(out, party.id), replace=force)


def _hand_out(keyring: Keyring, sealed: dict[str, bytes], out: Path, force: bool) -> None:
    for party, data in sealed.items():
        with whole_file(_sealed(out, party), replace=force) as file:
            file.write(data)
        print(_sealed(out, party))
    print(f"key {keyring.current}")


def _sealed(out: Path, party: str) -> Path:
    return out / f"{party}.sealed"
