"""Everything that is written to disk: whole or not at all.

`outputs` are files for people, in places that they name; links and pipes are followed. `records`
and secrets are a program's own: no link is followed, and one owner holds each. `locks` put secrets
under a passphrase. `Process` tells an object from its copy in a fork.
"""

from psi.storage.locks import is_locked, lock, read_passphrase, unlock
from psi.storage.outputs import check_folder, check_place, same_file, whole_file
from psi.storage.process import Process
from psi.storage.records import Record, read_secret, read_whole, write_new, write_whole
from psi.storage.typed import json_as, json_bytes, json_read
from psi.storage.whole import put_new

__all__ = [
    "Process",
    "Record",
    "check_folder",
    "check_place",
    "is_locked",
    "json_as",
    "json_bytes",
    "json_read",
    "lock",
    "put_new",
    "read_passphrase",
    "read_secret",
    "read_whole",
    "same_file",
    "unlock",
    "whole_file",
    "write_new",
    "write_whole",
]
