"""A training with others in words: what nobody saw, and what each onlooker could see."""

from __future__ import annotations

from privfed.partner.results import TrainingResults
from privfed.report.words import given, listing, upper
from privfed.secagg.adversary import Adversary

_COMPUTED = "each can compute the other’s {} from the sum"


def nobody_saw(results: TrainingResults) -> str:
    """Return in a sentence or two what stayed hidden, and what did not."""
    if results.method == "central noise":
        return (
            "No row left its company. The server was trusted with every party’s exact sums; the "
            "parties saw sums with its noise alone."
        )
    if results.method == "noise shares":
        return (
            "No row left its company, and the server read nothing. What was opened are sums with "
            "noise that no party knows."
        )
    if len(results.parties) == 2:
        return (
            "No row left its company, and the server read nothing. Of two parties "
            f"{_COMPUTED.format(_update(results))}."
        )
    return (
        "No row left its company, and the server read nothing. What was opened are sums over "
        f"{_together(results)} parties."
    )


def onlookers(results: TrainingResults) -> list[tuple[str, str]]:
    """Return who could see what, in the order of who sees most of the protocol."""
    several = len(results.parties) > 2
    found = [("The server", _server(results)), ("Another party", _party(results))]
    if several and results.method != "central noise":
        found.append(("The server with parties that help it", _helped(results)))
    found.append(("Whoever gets the model", _model(results)))
    found.append(
        ("The network", "that these companies talk, when and how much; the rest is under TLS.")
    )
    found.append(
        (
            "Who is shown this page",
            "losses and accuracies on this company’s own rows. They are exact and no ε counts "
            "them: keep this page, and results.json beside it, where the rows are kept.",
        )
    )
    return found


def _update(results: TrainingResults) -> str:
    return "update" if results.method == "encrypted averages" else "update with its noise"


def _together(results: TrainingResults) -> str:
    against = Adversary.of(results.adversary)
    return f"at least {against.least_together}" if against.lies else "several"


def _server(results: TrainingResults) -> str:
    if results.method == "central noise":
        return (
            "each party’s sums in every round, exact and in the clear. It was trusted with them, "
            "and drew the noise: no ε holds against it."
        )
    seen = f"who sent when, and how much; no value{' and no weight' if results.weighted else ''}."
    against = Adversary.of(results.adversary)
    if not against.lies:
        seen += " That holds while it keeps to the protocol."
    if results.server_party is None:
        return f"{seen} It holds neither rows nor the key."
    runs = results.parties[results.server_party]
    seen += f" But {runs} runs it, who as a party has the key: "
    if results.method == "noise shares":
        return f"{seen}what it could open holds others’ shares of the noise, as “another party”."
    if len(results.parties) == 2:
        return f"{seen}it sees what “another party” sees."
    if against.colluders:
        return f"{seen}masks leave it sums over {_together(results)} parties."
    return f"{seen}nothing masks updates from it, and it could open each."


def _party(results: TrainingResults) -> str:
    if results.method == "central noise":
        return "each round’s noisy sum, and its own part."
    if results.method == "noise shares":
        return (
            "each round’s noisy sum, its own part, and its own share of the noise; the ε for "
            "insiders counts that."
        )
    if len(results.parties) == 2:
        rows = " The sum tells by how many rows the other counts, too." if results.weighted else ""
        return f"the sum of both: {_COMPUTED.format(_update(results))}.{rows}"
    rows = ", and by how many rows they count together" if results.weighted else ""
    return f"each round’s sums over {_together(results)} parties{rows}; less its own, the others’."


def _helped(results: TrainingResults) -> str:
    if results.method == "noise shares" and results.privacy is not None:
        together = results.privacy.colluders
        return (
            f"with up to {together} of the parties the sum of the others under their shares of the "
            "noise, which the ε for insiders counts; with more of them, less noise."
        )
    against = Adversary.of(results.adversary)
    if against.colluders:
        return (
            f"with up to {against.colluders} in a group the sum of the others there, who are at "
            "least two; with more of them, single updates."
        )
    return f"each {_update(results)}: nothing masks it from who has the key."


def _model(results: TrainingResults) -> str:
    cost = results.privacy
    if cost is None:
        return "its weights. There is no differential privacy: they may tell of single rows."
    return (
        f"its weights, which tell of {cost.privacy_unit} no more than ε = "
        f"{upper(cost.epsilon_outsider)} allows, with δ = {given(cost.delta)}."
    )


def trained_with(results: TrainingResults) -> str:
    """Return who trained with whom."""
    return f"{results.name} trained a model with {listing(results.others)}"
