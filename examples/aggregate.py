"""Two companies average a model that the server can't read. Run: python examples/aggregate.py."""

import torch

from privfed import secagg

update = torch.nn.Linear(12, 2).state_dict()
people = {name: secagg.generate_identity() for name in ("guest", "host")}  # each keeps its own
public = tuple(each.public for each in people.values())
layout = secagg.Layout.of(update)
agreed = secagg.Parameters(job="dress", layout=layout, roster=public, clip_range=1.0, bits=16,
                           max_clients=2, max_weight=512)  # fmt: skip
key = secagg.generate_keys(agreed)  # the companies share it; the server never has it
# Each company is a party; a folder in the place of "memory" survives a restart.
companies = {name: secagg.Party(agreed, key, each, "memory") for name, each in people.items()}
server = secagg.Aggregator(agreed, round_id=1)  # from what is public alone
for (name, company), rows in zip(companies.items(), (325, 365), strict=True):
    server.add(upload := company.encrypt(update, weight=rows))
    print(f"{name} uploads {len(upload)} bytes")
total = server.total()  # to all companies, each of which may open it
opened = companies["guest"].open(total)
error = max(float(abs(opened.mean[name] - update[name].numpy()).max()) for name in update)
print(f"{len(total)} bytes open to the mean of {opened.total_weight} rows, error {error:.1e}")
assert error < 1e-4
