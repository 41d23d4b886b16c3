"""What a party learnt of the overlap, kept on its own disk: once it is trained on, it stays.

Nobody trains before all have said that they keep their part. So a party that is killed later never
makes the others look again. Before that it may, some times: each time it may ask about other IDs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from privfed.errors import ConfigError, DecodeError, PeerError
from privfed.partner.overlap import FoundOverlap, IDs, digest_of_ids
from privfed.partner.plan import Plan
from privfed.partner.standings import ToAll
from psi.storage import json_bytes, json_read, read_whole, write_whole

_MOST_BYTES = 1 << 33
_KEPT, _LACKING = b"kept", b"lacking"
MOST_SEARCHES = 10
"""How often one plan's overlap is looked for, with what a party brings then."""


class OverlapFile:
    """Where it lies: mode 0600, as it says which rows others have, too.

    Args:
        path: The file, in the training's own folder.
        plan: What all agreed on.
        train_ids: As of `find_overlap`.
        test_ids: As of `find_overlap`.
    """

    def __init__(
        self, path: Path, plan: Plan, train_ids: IDs | None, test_ids: IDs | None = None
    ) -> None:
        self._path, self.plan = path, plan
        self._ids = digest_of_ids(plan, train_ids, test_ids)

    def load(self) -> FoundOverlap | None:
        """Return what is kept; None: nothing.

        Raises:
            DecodeError: It is damaged, or of another plan.
            ConfigError: It cannot be read, or is of other rows than this party's.
        """
        data = read_whole(self._path, most=_MOST_BYTES, refusal=ConfigError)
        if data is None:
            return None
        try:
            found = json_read(data, FoundOverlap)
        except ValueError:
            found = None
        if found is None or found.plan != self.plan.fingerprint.hex():
            raise DecodeError(
                f"{self._path} is damaged or of another plan: put it back from a backup, or remove "
                "the folder and begin anew"
            )
        if found.ids != self._ids:
            raise ConfigError(
                f"{self._path} is of other rows than those of these tables: give the tables as "
                "they were at the first start, or begin anew under another job name"
            )
        return found

    def begin_search(self) -> None:
        """Count one more search, and forget what is kept: it is of what others brought before.

        Raises:
            PeerError: There were as many as may be.
            ConfigError: The files cannot be written.
        """
        file = self._path.with_name(f"{self._path.name}.searches")
        before = int.from_bytes(read_whole(file, most=1, refusal=ConfigError) or b"", "little")
        if before >= MOST_SEARCHES:
            raise PeerError(
                f"the overlap was looked for {before} times, and somebody lacks it again: ask why, "
                "and begin anew under another job name"
            )
        write_whole(file, bytes([before + 1]), refusal=ConfigError)
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot remove {self._path}: {error.strerror}") from None

    def save(self, found: FoundOverlap) -> None:
        """Keep it.

        Raises:
            ConfigError: It cannot be written.
        """
        write_whole(self._path, json_bytes(found), refusal=ConfigError)


def settled_overlap(
    file: OverlapFile,
    find: Callable[[], FoundOverlap],
    exchange: ToAll,
    *,
    begun: bool,
) -> FoundOverlap:
    """Return what is kept; if anybody lacks it, all find it first, and say that they keep it.

    All parties call it at the same time, each time they meet.

    Args:
        file: Where this party keeps it.
        find: Calls `find_overlap`.
        exchange: Sends bytes to all under a topic, and returns those of all, in the plan's order:
            as `Channel.exchange`; whose they are was checked.
        begun: Whether this party has finished a round: then nothing is found anew.

    Raises:
        PeerError: A party lacks it after a round, after all have found it, or too often.
        ConfigError: As of `find_overlap` and `OverlapFile`.
        DecodeError: As of `OverlapFile.load`.
    """
    kept = file.load()
    lacking = _lacking(file.plan, exchange("overlap", _LACKING if kept is None else _KEPT))
    if lacking and begun:
        raise PeerError(
            f"{lacking} has lost the overlap, by which all train: let it put its folder back from "
            "a backup, or begin anew under another job name"
        )
    if lacking:
        file.begin_search()
        kept = find()
        file.save(kept)
        lacking = _lacking(file.plan, exchange("overlap kept", _KEPT))
    if lacking or kept is None:
        raise PeerError(f"{lacking or 'this party'} does not keep the overlap: let all start again")
    return kept


def _lacking(plan: Plan, said: Sequence[bytes]) -> str:
    """Return the names of those who lack it."""
    names = (each.name for each in plan.parties)
    return ", ".join(name for name, word in zip(names, said, strict=True) if word != _KEPT)
