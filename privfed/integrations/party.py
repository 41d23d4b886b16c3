"""A party's end in somebody else's engine: asked by bytes, it answers with bytes.

Made anew for every message, as engines start a process for each. Between messages all is on disk.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError, ContextMismatchError, ReplayError
from privfed.integrations.hello import NONCE_BYTES, Hello, met
from privfed.integrations.kept import Arrays, Course, Shelf, StoredModel, digest_of_model
from privfed.integrations.messages import (
    MOST_AHEAD,
    Assignment,
    Done,
    Greet,
    PastRound,
    Present,
    Travels,
)
from privfed.integrations.travels import Codec, codec_of
from privfed.secagg import Keyring, Party

_FLOATS, _WHOLE = "f", "iub"


class EmbeddedParty:
    """One party, for one message; a context manager.

    Args:
        folder: Its keyring folder, whose key is in use.
        run: Names the run, as this party's own engine says it: never what a message says.
        passphrase: What locks the keyring, or None.
        travels: What uploads hold, the same at all parties; parameters with noise shares decide it
            themselves.

    Raises:
        ConfigError: There is no such keyring, or another process uses it.
        AuthenticationError: The passphrase is wrong or a file was altered.
        ContextMismatchError: The keyring's parameters are another plan's.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        passphrase: str | None = None,
        *,
        travels: Travels = "weights",
    ) -> None:
        self._ring, self._run = Keyring(folder, passphrase), run
        with ExitStack() as opened:
            self._party = opened.enter_context(Party.of(self._ring))
            self.params, place = self._party.params, self._party.place
            owner = self.params.fingerprint + self.params.roster[place].verify_key
            self._shelf = Shelf(self._ring.state / "embedded", owner)
            self._codec: Codec = codec_of(travels, folder, self._party)
            self._given = b""
            opened.callback(self._codec.close)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the keyring's party for the next message."""
        self._opened.close()

    def greet(self, ask: Greet, totals: Sequence[bytes] = ()) -> Present:
        """Say who this party is; the same again, if the server asks again.

        Args:
            ask: What the server asks.
            totals: The totals that go along.

        Returns:
            Its hello, and the parameters where the server has none.

        Raises:
            ReplayError: The server begins the run anew, in which this party is already.
            ContextMismatchError: The run resumes from a checkpoint that is not the last one, or
                begins far after this party's last round.
            PrivFedError: A total does not open; `Party.open` says which errors there are.
        """
        self._take(ask.totals, totals)
        first = self._party.round_id + 1 if ask.first_round is None else ask.first_round
        self._check_near(first)
        course = self._shelf.course()
        resumes = bool(ask.totals)
        asked = (self._run, ask.start, first, resumes)
        same = course is not None and asked == (
            course.run,
            course.start,
            course.first_round,
            course.resumes,
        )
        if course is None or not same:
            if course is not None and course.run == self._run and course.entered:
                raise ReplayError("the server begins a run anew in which this party is already")
            model = self._standing(ask.totals[-1]) if resumes else b""
            hello = self._hello(ask.start, first, model)
            opened = self._party.opened_round
            course = Course(1, self._run, ask.start, first, hello, opened, resumes)
            self._shelf.keep_course(course)
        known = ask.known == self.params.fingerprint
        return Present(course.hello, b"" if known else self.params.to_bytes())

    def _check_near(self, number: int) -> None:
        if number - self._party.round_id > MOST_AHEAD:
            raise ContextMismatchError(
                f"the server asks for round {number}, and this party's last one is "
                f"{self._party.round_id}: who skips so many uses a key up"
            )

    def _standing(self, checkpoint: PastRound) -> bytes:
        """Return what stands for this party's model: alike at all who resume, before they do.

        Under a key of the parties', so that nobody else can test guesses of the model.

        Raises:
            ContextMismatchError: It is not that of the checkpoint.
            ConfigError: No total was opened here.
        """
        model = self._shelf.model()
        if model is None:
            raise ConfigError("no total was opened here: begin with an initial model")
        if model.round_id != checkpoint.round_id:
            raise ContextMismatchError(
                f"the checkpoint is of round {checkpoint.round_id}, and this party has the model "
                f"after round {model.round_id}: resume from the last checkpoint, or begin with an "
                "initial model"
            )
        key = self._ring.key().derive(b"embedded model", 32)
        return hmac.digest(key, digest_of_model(model.arrays), "sha256")

    def _hello(self, start: bytes, first: int, model: bytes) -> bytes:
        lies = self.params.assumed.lies
        hello = Hello(
            1,
            self.params.fingerprint,
            bytes.fromhex(self._ring.current),
            self._run,
            start,
            self._codec.travels,
            first,
            self._party.opened_round,
            self._party.transcript if lies else b"",
            model,
            os.urandom(NONCE_BYTES),
            self._party.start_epoch(first) if self.params.masks else b"",
        )
        return hello.signed(self._party.place, self._ring.identity)

    def receive(
        self, ask: Assignment, arrays: Mapping[str, NDArray[Any]] | None, totals: Sequence[bytes]
    ) -> Arrays:
        """Return the model to train, to evaluate, or to keep.

        Args:
            ask: What the server asks.
            arrays: The initial model, where it goes along.
            totals: The totals that go along.

        Raises:
            ContextMismatchError: This party is not in this run, was promised another model, or
                was sent none; or the round is far after its last one.
            ReplayError: The initial model comes after a total of the run, or the round was sent
                already.
            ConfigError: There is no model yet.
            PrivFedError: A hello is not acceptable (see `met`), or a total does not open.
        """
        course = self._course()
        if not course.entered and (ask.purpose == "train" or arrays is not None):
            course = self._enter(course, ask)
        if arrays is not None:
            course = self._begin(course, arrays)
        if not (course.begun or course.resumes):
            # The model of a run before is here, and others were shown another one.
            raise ContextMismatchError("the server left out the initial model of the run")
        if ask.purpose == "train" and ask.round_id <= self._party.round_id:
            raise ReplayError(f"round {ask.round_id} was sent already, or a later one")
        self._check_near(ask.round_id)
        self._take(ask.totals, totals)
        model = self.model()
        if ask.purpose == "train":
            self._codec.pay()
            self._given = self._stand()
        return model

    @property
    def given(self) -> bytes:
        """What stands for this run and the model that was received for training; else empty."""
        return self._given

    def model(self) -> Arrays:
        """Return the model with the application's types, and this party's own arrays.

        Raises:
            ConfigError: There is none yet.
        """
        kept, own = self._model(), self._shelf.own()
        floats = {name: each.astype(kept.kinds[name]) for name, each in kept.arrays.items()}
        return {name: (floats | own)[name] for name in kept.kinds if name in floats | own}

    def upload(
        self,
        ask: Assignment,
        arrays: Mapping[str, NDArray[Any]],
        weight: int | None,
        settings: bytes = b"",
        *,
        given: bytes | None = None,
    ) -> bytes:
        """Return what the server adds.

        Args:
            ask: What the server asked.
            arrays: The application's, after training.
            weight: How much this party counts, such as its rows; not used without weights.
            settings: What stands for all that the server sent for this training besides; parties
                that mask together must have been sent the same. Else a server could let all but
                one train at a rate of 0, and with a party's help read that one's update.
            given: What `given` was, where another process received the model; None: this one did.

        Raises:
            ConfigError: Arrays or weight do not fit.
            CapacityError: A value is past the clip range.
            ContextMismatchError: This party has gone on meanwhile, in this run or another one.
            ReplayError: The round was sent already.
        """
        # Else what was trained in one run would go into a sum of another, from another model.
        if (self._given if given is None else given) != self._stand():
            raise ContextMismatchError(
                "this party went on while it trained: what it trained is of another run or model"
            )
        model = self._model().arrays
        own = {name: each for name, each in arrays.items() if each.dtype.kind in _WHOLE}
        after = {name: each for name, each in arrays.items() if name not in own}
        if extra := sorted(set(after) ^ set(model)):
            raise ConfigError(f"the application's arrays are not the model's: {extra[0]!r} differs")
        for name, each in after.items():
            if each.shape != model[name].shape or each.dtype.kind not in _FLOATS:
                raise ConfigError(f"array {name!r} changed its shape or type in training")
        if self.params.max_weight is None:
            weight = None
        elif weight is None:
            raise ConfigError("the parameters have weights: say how much this party counts")
        of = PastRound(ask.round_id, ask.cohort)
        upload = self._codec.pack(model, after, weight, of, settings)
        self._shelf.keep_own(own)
        return upload

    def result(self, ask: Assignment) -> bytes:
        """Return what others read in the place of the total that came with a question.

        Args:
            ask: What the server asked.

        Raises:
            ContextMismatchError: This party's last round is another one.
            PrivFedError: It opened that elsewhere; `Party.result` says which errors there are.
        """
        if self._party.opened_round != ask.round_id:
            raise ContextMismatchError(
                f"the server asks for the sums of round {ask.round_id}, and this party opened "
                f"round {self._party.opened_round}"
            )
        return self._party.result()

    def done(self) -> Done:
        """Return what the server is told at the end."""
        return Done(self._party.opened_round)

    def _stand(self) -> bytes:
        """Return what differs between any two runs, and models in one."""
        return self._course().hello + self._model().round_id.to_bytes(8)

    def _course(self) -> Course:
        course = self._shelf.course()
        if course is None or course.run != self._run:
            raise ContextMismatchError(
                "the server asks for work in a run in which this party has not said hello, or has "
                "begun another one since: one run at a time on a keyring"
            )
        return course

    def _enter(self, course: Course, ask: Assignment) -> Course:
        place = self._party.place
        trains = ask.purpose == "train"
        together = set(self.params.group_of(place) or ask.cohort or ()) if trains else set[int]()
        hellos = met(self.params, place, course.hello, ask.hellos, together)
        if not trains:  # one whose group is not whole looks at the model, and stays with the others
            return course
        if self.params.masks:
            self._party.enter_epoch([each.epoch for each in hellos.values()])
        entered = msgspec.structs.replace(course, entered=True)
        self._shelf.keep_course(entered)
        return entered

    def _begin(self, course: Course, arrays: Mapping[str, NDArray[Any]]) -> Course:
        """Take the initial model, if it is the one that all were promised."""
        if course.resumes or digest_of_model(arrays) != course.start:
            raise ContextMismatchError(
                "the initial model is not the one that the parties agreed on"
            )
        if course.begun:  # the server did not hear that it came
            return course
        if self._party.opened_round != course.base:
            raise ReplayError("the server sends an initial model in the middle of a run")
        floats = {name: each for name, each in arrays.items() if each.dtype.kind in _FLOATS}
        own = {name: each for name, each in arrays.items() if each.dtype.kind in _WHOLE}
        if other := arrays.keys() - floats.keys() - own.keys():
            raise ConfigError(f"array {min(other)!r} holds no real numbers")
        kinds = {name: each.dtype.str for name, each in arrays.items()}
        stored = {name: each.astype(np.float32) for name, each in floats.items()}
        self._shelf.keep_own(own)
        self._shelf.keep_initial(StoredModel.of(stored, course.base, kinds))
        begun = msgspec.structs.replace(course, begun=True)
        self._shelf.keep_course(begun)
        return begun

    def _take(self, rounds: Sequence[PastRound], totals: Sequence[bytes]) -> None:
        """Open totals or RESULTs, in their order; each changes the model once."""
        if len(rounds) != len(totals):
            raise ContextMismatchError(f"{len(rounds)} totals were announced, {len(totals)} came")
        for of, total in zip(rounds, totals, strict=True):
            model = self._model()
            if of.round_id > model.round_id:
                after = self._codec.take(model.arrays, total, of)
                self._shelf.keep_model(StoredModel.of(after, of.round_id, model.kinds))

    def _model(self) -> StoredModel:
        """Return what the run goes on from: its initial model until a total of it is opened."""
        course, model = self._shelf.course(), self._shelf.model()
        if course and course.begun and (model is None or model.round_id <= course.base):
            model = self._shelf.initial()
        if model is None:
            raise ConfigError("there is no model yet: the run has to begin with an initial one")
        return model


def trained_model(folder: Path, passphrase: str | None = None) -> Arrays:
    """Return the model that a party has: after the last total that it opened.

    In a run that begins anew, and until its first total, that is what the run began with.

    Args:
        folder: Its keyring folder.
        passphrase: What locks it, or None.

    Raises:
        ConfigError: There is none yet, or a run is using it.
    """
    with EmbeddedParty(folder, "", passphrase) as party:
        return party.model()
