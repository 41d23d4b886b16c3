"""Values of every kind, and every public call with arguments that are honest."""

import array
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privfed import secagg
from privfed.secagg.simulation import serve
from tests.secagg.parties import identities, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (2, 2), "b": (2,)}


@cache
def made() -> types.SimpleNamespace:
    """What honest arguments are; nothing changes it."""
    params = parameters(
        3, SHAPES, scheme="reference", max_weight=8, aggregators=(identities(3)[2].public,)
    )
    masked = parameters(3, SHAPES, max_weight=None, adversary="lying-server+1", noise_shares=True)
    update = updates(1, SHAPES)[0]
    integers = {name: np.ones(shape, int) for name, shape in SHAPES.items()}
    key, masked_key = secagg.generate_keys(params), secagg.generate_keys(masked)
    me = identities(3)[0]
    parties = [secagg.Party(params, key, each, "memory") for each in identities(3)]
    announced = [each.announce() for each in parties]
    uploads = [each.encrypt(update, weight=1) for each in parties]
    return types.SimpleNamespace(
        params=params,
        masked=masked,
        masked_key=masked_key,
        messages=[
            secagg.Encryptor(masked, masked_key, each, "memory").start_epoch(0)
            for each in identities(3)[1:]
        ],
        update=update,
        integers=integers,
        key=key,
        me=me,
        announced=announced,
        uploads=uploads,
        total=serve(params, 1, uploads).total(),
        sealed=secagg.seal_key(key, params, me, identities(3)[1].public),
    )


def torch_values() -> dict[str, Any]:
    """Tensors that numpy cannot hold, and a model in the place of its state_dict."""
    torch = pytest.importorskip("torch")
    sparse, meta = torch.zeros(2, 2).to_sparse(), torch.zeros(2, 2, device="meta")
    return {
        "a model": torch.nn.Linear(2, 2),
        "a tensor": torch.zeros(2),
        "a sparse tensor": {"w": sparse, "b": torch.zeros(2)},
        "a meta tensor": {"w": meta, "b": torch.zeros(2)},
        "a float8 tensor": {"w": torch.zeros(2, 2).to(torch.float8_e4m3fn), "b": torch.zeros(2)},
        "a complex tensor": {"w": torch.zeros(2, 2, dtype=torch.complex64), "b": torch.zeros(2)},
    }


@cache
def hostile() -> dict[str, Any]:
    flat = np.zeros(2, np.float32)
    return {
        "None": None,
        "True": True,
        "-1": -1,
        "0": 0,
        "7": 7,
        "1.5": 1.5,
        "nan": float("nan"),
        "inf": float("inf"),
        "2**70": 2**70,
        "1j": 1j,
        "text": "text",
        "empty text": "",
        "a surrogate": "\ud800",
        "hex": "ab" * 32,
        "no bytes": b"",
        "bytes": b"x" * 40,
        "32 bytes": bytes(32),
        "16 bytes": bytes(16),
        "a long message": bytes(1000),
        "bytearray": bytearray(b"abc"),
        "memoryview": memoryview(b"abcd"),
        "a memoryview of numbers": memoryview(array.array("I", [1, 2])),
        "[]": [],
        "[1]": [1],
        "[-1, 99]": [-1, 99],
        "[1.5]": [1.5],
        "['a']": ["a"],
        "[b'x']": [b"x"],
        "[None]": [None],
        "nested": [[[[]]]],
        "()": (),
        "{}": {},
        "a set": {1, 2},
        "{'w': 1}": {"w": 1},
        "{0: array}": {0: flat},
        "{None: array}": {None: flat},
        "floats": {"w": [[0.1, 0.1]] * 2, "b": [0.1, 0.2]},
        "ragged": {"w": [[1], [1, 2]], "b": flat},
        "None inside": {"w": None, "b": flat},
        "objects": {"w": np.full((2, 2), None), "b": flat},
        "complex": {"w": np.zeros((2, 2), complex), "b": flat},
        "dates": {"w": np.zeros((2, 2), "M8[s]"), "b": flat},
        "records": {"w": np.zeros((2, 2), "i4,f4"), "b": flat},
        "text inside": {"w": np.full((2, 2), "a"), "b": flat},
        "an object": object(),
        "a type": dict,
        "a function": len,
        "an array": np.zeros(2),
        "an array of text": np.array(["a"]),
        "a numpy float": np.float64(2.5),
        "Path": Path("gone"),
        "a null path": Path("a\0b"),
        "no path": Path(),
        "a root path": Path("/"),
        "a range": range(3),
        "an iterator": iter([1, 2]),
        "a key": made().key,
        "params": made().params,
        "other params": made().masked,
        "an identity": made().me,
        "a public one": made().me.public,
        "a layout": made().params.layout,
        "ids": tuple(each.id for each in made().params.roster),
        "publics": made().params.roster,
    }


def settings(**changes: Any) -> secagg.Parameters:
    base = made().params
    names = secagg.Parameters.__dataclass_fields__
    return secagg.Parameters(**({name: getattr(base, name) for name in names} | changes))


def encryptor(masked: bool = False) -> secagg.Encryptor:
    params, key = (made().masked, made().masked_key) if masked else (made().params, made().key)
    first = secagg.Encryptor(params, key, made().me, "memory")
    if masked:
        first.enter_epoch([first.start_epoch(0), *made().messages])
    return first


def party(masked: bool = False, entered: bool = True) -> secagg.Party:
    params, key = (made().masked, made().masked_key) if masked else (made().params, made().key)
    first = secagg.Party(params, key, made().me, "memory")
    if masked:
        own = first.start_epoch(0)
        if entered:
            first.enter_epoch([own, *made().messages])
    return first


def simulation() -> secagg.Simulation:
    return secagg.Simulation(made().params, identities(3), made().key)


CALLS: dict[str, tuple[Callable[..., object], Callable[[], dict[str, Any]]]] = {
    "Parameters": (
        settings,
        lambda: {
            name: getattr(made().params, name) for name in secagg.Parameters.__dataclass_fields__
        },
    ),
    "Parameters.from_bytes": (
        secagg.Parameters.from_bytes,
        lambda: {"data": made().params.to_bytes()},
    ),
    "index_of": (lambda **a: made().params.index_of(**a), lambda: {"party": made().me.public}),
    "Layout": (secagg.Layout, lambda: {"entries": (("w", (2, 2)),), "skipped": ("steps",)}),
    "Layout.of": (secagg.Layout.of, lambda: {"arrays": made().update}),
    "generate_keys": (secagg.generate_keys, lambda: {"params": made().params}),
    "SecretKey": (secagg.SecretKey, lambda: {"root": bytes(32), "context": bytes(32)}),
    "SecretKey.generate": (secagg.SecretKey.generate, lambda: {"context": bytes(32)}),
    "SecretKey.from_bytes": (secagg.SecretKey.from_bytes, lambda: {"data": made().key.to_bytes()}),
    "SecretKey.save": (
        lambda **a: made().key.save(**a),
        lambda: {"path": Path("key"), "passphrase": None, "unlocked": True},
    ),
    "SecretKey.load": (
        secagg.SecretKey.load,
        lambda: {"path": Path("there"), "passphrase": "words"},
    ),
    "Identity.save": (
        lambda **a: made().me.save(**a),
        lambda: {"path": Path("me"), "passphrase": None, "unlocked": True},
    ),
    "Identity.load": (secagg.Identity.load, lambda: {"path": Path("there"), "passphrase": "words"}),
    "Identity.derive": (
        lambda **a: made().me.derive(**a),
        lambda: {"purpose": b"state", "length": 32},
    ),
    "PublicIdentity": (
        secagg.PublicIdentity,
        lambda: {
            name: getattr(made().me.public, name)
            for name in ("verify_key", "mask_key", "mask_signature")
        },
    ),
    "PublicIdentity.from_bytes": (
        secagg.PublicIdentity.from_bytes,
        lambda: {"data": made().me.public.to_bytes()},
    ),
    "PublicIdentity.verify": (
        lambda **a: made().me.public.verify(**a),
        lambda: {"signature": made().me.sign(b"x"), "message": b"x"},
    ),
    "seal_key": (
        secagg.seal_key,
        lambda: {
            "key": made().key,
            "params": made().params,
            "maker": made().me,
            "recipient": identities(2)[1].public,
            "replaces": b"",
        },
    ),
    "open_key": (
        secagg.open_key,
        lambda: {
            "data": made().sealed,
            "params": made().params,
            "identity": identities(2)[1],
            "maker": None,
        },
    ),
    "Keyring": (secagg.Keyring, lambda: {"folder": Path("ring"), "passphrase": None}),
    "Keyring.create": (
        secagg.Keyring.create,
        lambda: {"folder": Path("new"), "passphrase": None, "unlocked": True},
    ),
    "Keyring.create locked": (
        lambda **a: secagg.Keyring.create(Path("locked"), **a),
        lambda: {"passphrase": "words"},
    ),
    "Keyring.make": (
        lambda **a: secagg.Keyring(Path("ring")).make(**a),
        lambda: {"params": made().params},
    ),
    "Keyring.revoke": (
        lambda **a: secagg.Keyring(Path("ring")).revoke(**a),
        lambda: {"party": "x"},
    ),
    "Keyring.accept": (
        lambda **a: secagg.Keyring(Path("ring")).accept(**a),
        lambda: {"sealed": made().sealed, "params": made().params, "maker": None},
    ),
    "Encryptor": (
        secagg.Encryptor,
        lambda: {
            "params": made().params,
            "key": made().key,
            "identity": made().me,
            "state": "memory",
        },
    ),
    "Encryptor.prepare": (
        lambda **a: encryptor(True).prepare(**a),
        lambda: {"count": 1, "round_id": 1, "cohort": None},
    ),
    "Encryptor.announce": (
        lambda **a: encryptor(True).announce(**a),
        lambda: {"round_id": 1, "cohort": None},
    ),
    "Encryptor.encrypt": (
        lambda **a: encryptor().encrypt(**a),
        lambda: {
            "arrays": made().update,
            "weight": 1,
            "round_id": 1,
            "previous": b"",
            "cohort": None,
        },
    ),
    "Encryptor.encrypt_blocks": (
        lambda **a: list(encryptor().encrypt_blocks(**a)),
        lambda: {
            "arrays": made().update,
            "weight": 1,
            "round_id": 1,
            "previous": b"",
            "cohort": None,
        },
    ),
    "Encryptor.encrypt_integers": (
        lambda **a: encryptor(True).encrypt_integers(**a),
        lambda: {"arrays": made().integers, "round_id": 1, "previous": b"", "cohort": None},
    ),
    "Decryptor": (
        secagg.Decryptor,
        lambda: {"params": made().params, "key": made().key, "state": "memory"},
    ),
    "Decryptor.prepare": (
        lambda **a: secagg.Decryptor(made().params, made().key, "memory").prepare(**a),
        lambda: {"announcements": made().announced, "round_id": 1, "cohort": None},
    ),
    "Decryptor.decrypt": (
        lambda **a: secagg.Decryptor(made().params, made().key, "memory").decrypt(**a),
        lambda: {"total": made().total, "round_id": 1, "cohort": None},
    ),
    "Decryptor.decrypt_sums": (
        lambda **a: secagg.Decryptor(made().masked, made().masked_key, "memory").decrypt_sums(**a),
        lambda: {"total": made().total, "round_id": 1, "cohort": None},
    ),
    "Decryptor.named": (
        lambda **a: secagg.Decryptor(made().params, made().key, "memory").named(**a),
        lambda: {"total": made().total, "round_id": 1, "cohort": None},
    ),
    "Aggregator": (
        secagg.Aggregator,
        lambda: {
            "params": made().masked,
            "round_id": 1,
            "cohort": None,
            "key_id": None,
            "previous": None,
            "identity": None,
        },
    ),
    "Aggregator.add": (
        lambda **a: secagg.Aggregator(made().params, 1).add(**a),
        lambda: {"message": made().uploads[0]},
    ),
    "Aggregator.add_partial": (
        lambda **a: secagg.Aggregator(made().params, 1).add_partial(**a),
        lambda: {"message": made().uploads[0]},
    ),
    "Party": (
        secagg.Party,
        lambda: {
            "params": made().params,
            "key": made().key,
            "identity": made().me,
            "state": "memory",
        },
    ),
    "Party.load": (secagg.Party.load, lambda: {"folder": Path("ring"), "passphrase": None}),
    "Party.prepare": (lambda **a: party().prepare(**a), lambda: {"count": 1}),
    "Party.start_epoch": (
        lambda **a: party(True).start_epoch(**a),
        lambda: {"first_round": None},
    ),
    "Party.enter_epoch": (
        lambda **a: party(True, entered=False).enter_epoch(**a),
        lambda: {"messages": made().messages},
    ),
    "Party.announce": (
        lambda **a: party(True).announce(**a),
        lambda: {"round_id": None, "cohort": None},
    ),
    "Party.expect": (
        lambda **a: party().expect(**a),
        lambda: {"announcements": made().announced, "round_id": 1, "cohort": None},
    ),
    "Party.encrypt": (
        lambda **a: party().encrypt(**a),
        lambda: {
            "arrays": made().update,
            "weight": 1,
            "round_id": None,
            "cohort": None,
        },
    ),
    "Party.encrypt_integers": (
        lambda **a: party(True).encrypt_integers(**a),
        lambda: {"arrays": made().integers, "round_id": None, "cohort": None},
    ),
    "Party.open": (
        lambda **a: party().open(**a),
        lambda: {"total": made().total, "round_id": 1, "cohort": None},
    ),
    "Party.open_sums": (
        lambda **a: party().open_sums(**a),
        lambda: {"total": made().total, "round_id": 1, "cohort": None},
    ),
    "Decryptor.result": (
        lambda **a: secagg.Decryptor(made().params, made().key, "memory").result(**a),
        lambda: {"identity": made().me},
    ),
    "Aggregator.add_result": (
        lambda **a: secagg.Aggregator(made().params, 1).add_result(**a),
        lambda: {"message": made().total},
    ),
    "Party.opened": (lambda **a: party().opened(**a), lambda: {"round_id": None}),
    "Simulation": (
        secagg.Simulation,
        lambda: {"params": made().params, "identities": identities(3), "key": None},
    ),
    "Simulation.prepare": (
        lambda **a: simulation().prepare(**a),
        lambda: {"round_id": 1, "cohort": None},
    ),
    "Simulation.average": (
        lambda **a: simulation().average(**a),
        lambda: {"updates": [made().update] * 3, "round_id": 1, "weights": [1, 1, 1]},
    ),
    "Simulation.average, by place": (
        lambda update, weight: simulation().average(
            {0: update, 1: made().update}, round_id=1, weights=[weight, 1, 1]
        ),
        lambda: {"update": made().update, "weight": 1},
    ),
    "Simulation.add_integers": (
        lambda **a: simulation().add_integers(**a),
        lambda: {"updates": [made().integers] * 3, "round_id": 1},
    ),
    "simulate": (
        secagg.simulate,
        lambda: {"parties": 3, "parameters": lambda roster: settings(roster=roster)},
    ),
}
