"""A job whose first party keeps its state in a folder, for the suites of ``Party``."""

import json

import numpy as np

from privfed import secagg
from tests.secagg.parties import identities, parameters, updates

SHAPES = {"w": (7, 5), "b": (5,)}


class Job:
    """The parties of one job; the first one keeps its state in a folder."""

    def __init__(self, folder, count=3, **changes):
        self.params = parameters(count, SHAPES, **{"max_weight": None} | changes)
        self.key, self.folder = secagg.generate_keys(self.params), folder
        self.sent = updates(count, SHAPES)
        self.parties = [self.fresh(), *(self.party(place) for place in range(1, count))]

    def party(self, place, state=None):
        return secagg.Party(self.params, self.key, identities(place + 1)[place], state)

    def fresh(self):
        """The first party as another process makes it, once this one's is closed."""
        return self.party(0, self.folder)

    def uploads(self, **more):
        pairs = zip(self.parties, self.sent, strict=True)
        return [party.encrypt(update, **more) for party, update in pairs]

    def total(self, uploads, round_id, cohort=None):
        server = secagg.Aggregator(
            secagg.Parameters.from_bytes(self.params.to_bytes()), round_id, cohort
        )
        for upload in uploads:
            server.add(upload)
        return server.total()

    def round(self, round_id):
        total = self.total(self.uploads(), round_id)
        return total, [party.open(total) for party in self.parties]

    @property
    def record(self):
        return json.loads((self.folder / "rounds.json").read_text())


def same(left, right):
    return left.keys() == right.keys() and all(
        np.array_equal(left[name], right[name]) for name in right
    )
