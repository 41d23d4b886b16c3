"""A dress company's script, as NVFlare runs it: it knows nothing of keys."""

import nvflare.client as flare
import torch

from privfed.data import load_dataset, split_parties
from privfed.training import AdamTrainer, evaluate, one_thread, paper_network
from privfed.training.federated import batch_seed


@one_thread()
def main() -> None:
    """Train an epoch a round."""
    flare.init()
    place = int(flare.get_site_name().removeprefix("site-")) - 1
    table = load_dataset()  # a company would read its own file
    party = split_parties(table, "overlapping", parties=2)[place]
    features, labels = torch.from_numpy(table.features), torch.from_numpy(table.targets)
    trainer = AdamTrainer(features[party.train], labels[party.train])
    model = paper_network(12, 2)
    while flare.is_running():
        received = flare.receive()
        model.load_state_dict(received.params)
        accuracy = evaluate(model, features[party.test], labels[party.test]).accuracy
        print(f"round {received.current_round}: accuracy {accuracy:.3f}", flush=True)
        trainer.train_epoch(model, batch_seed(0, received.current_round + 1, place))
        flare.send(
            flare.FLModel(
                params=model.state_dict(),
                metrics={"accuracy": accuracy},
                meta={"NUM_STEPS_CURRENT_ROUND": len(party.train)},
            )
        )


if __name__ == "__main__":
    main()
