"""Everything that is written to disk: whole or not at all.

`outputs` are files for people, in places that they name; links and pipes are followed. `records`
and secrets are a program's own: no link is followed, and one owner holds each. A `ReservedFile` has
its room on the disk beforehand, `sealing` hides what a file holds, `passphrases` lock secrets.
`Process` tells an object from its copy in a fork.
"""

from psi.storage.outputs import check_folder, check_place, same_file, whole_file
from psi.storage.passphrases import (
    check_lock,
    is_locked,
    lock_secret,
    read_passphrase,
    unlock_secret,
)
from psi.storage.process import Process
from psi.storage.records import (
    Record,
    read_secret,
    read_whole,
    regular_file,
    write_new,
    write_whole,
)
from psi.storage.reserved import ReservedFile
from psi.storage.sealing import open_sealed, seal_for
from psi.storage.typed import json_as, json_bytes, json_read
from psi.storage.whole import put_new

__all__ = [
    "Process",
    "Record",
    "ReservedFile",
    "check_folder",
    "check_lock",
    "check_place",
    "is_locked",
    "json_as",
    "json_bytes",
    "json_read",
    "lock_secret",
    "open_sealed",
    "put_new",
    "read_passphrase",
    "read_secret",
    "read_whole",
    "regular_file",
    "same_file",
    "seal_for",
    "unlock_secret",
    "whole_file",
    "write_new",
    "write_whole",
]
