"""Six companies average a model; one is missing, and who helps the server sees sums of groups.

Run: python examples/aggregate_masked.py
"""

import numpy as np

from privfed import secagg

update = {"weight": np.linspace(-1, 1, 24).reshape(2, 12)}
people = [secagg.generate_identity() for _ in range(6)]  # each keeps its own
agreed = secagg.Parameters(
    job="dress", layout=secagg.Layout.of(update), clip_range=1.0, bits=16, max_clients=6,
    max_weight=None, roster=tuple(each.public for each in people), adversary="lying-server+1",
)  # fmt: skip
print(f"groups {agreed.groups}: each comes and goes whole")
key = secagg.generate_keys(agreed)  # the companies share it; the server never has it
# Each company is a party; a folder in the place of "memory" survives a restart.
companies = [secagg.Party(agreed, key, each, "memory") for each in people]
messages = [company.start_epoch() for company in companies]  # fresh mask keys, once in a while
for company in companies:
    company.enter_epoch(messages)  # those of its group; the server may pass them on

for missing, count in ((4, 3), (None, 6)):
    server = secagg.Aggregator(agreed, companies[0].round_id + 1)  # from what is public alone
    for place, company in enumerate(companies):
        if place != missing:
            server.add(company.encrypt(update))
    print(f"{len(server.senders)} in the sum, {len(server.waiting)} wait for their group")
    total = server.total()  # to all companies, also those that were not in it
    means = [company.open(total, round_id=companies[0].round_id) for company in companies]
    assert len({each.transcript for each in means}) == 1
    assert len(means[0].senders) == count
    assert np.allclose(means[0].mean["weight"], update["weight"], atol=1e-4)
