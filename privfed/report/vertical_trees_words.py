"""A vertical training of trees in words: what carries it, what each side saw, what sides tell."""

from __future__ import annotations

from privfed.report.vertical_words import never_seen, scores_opened
from privfed.report.words import compact, count, listing, percent
from privfed.vertical.trees.results import ColumnAudit, TreesResults

_MOST_NAMED = 3


def carriers(results: TreesResults) -> str:
    """Return whose splits carry the model."""
    guest, host = results.guest, results.host
    if guest.gain_share is None or host.gain_share is None:
        won = sum(tree.won for tree in results.bits)
        return (
            f"{host.name}’s splits are the best in {won:,} of {results.nodes_told:,} nodes. How "
            f"much they gain, {guest.name} alone knows."
        )
    return (
        "Gain is how much smaller a split makes the loss on the training rows, in the trees that "
        f"are kept: {percent(host.gain_share)} of it is of {host.name}’s columns, "
        f"{percent(guest.gain_share)} of {guest.name}’s. A column with many values is chosen "
        "sooner than its worth on new rows says."
    )


def stopped(results: TreesResults) -> str:
    """Return when it stopped, and by what; "" where no rows were held back."""
    if not results.losses or results.kept_rounds is None or results.validation_rows is None:
        return ""
    kept = (
        "all are kept"
        if results.kept_rounds == results.rounds
        else "what was grown after it is not kept"
    )
    return (
        f"{results.guest.name} held back {results.validation_rows:,} of the training rows. Their "
        f"loss is the smallest after round {results.kept_rounds:,} of {results.rounds:,}: {kept}."
    )


def bits(results: TreesResults) -> list[str]:
    """Return in a line or two what the guest read of the host's columns."""
    guest, host = results.guest.name, results.host.name
    won = sum(tree.won for tree in results.bits)
    most = "" if results.sides_exact else "at most "
    said = (
        f"{guest} read {most}{results.sides_read:,} sides of rows, a bit each, in "
        f"{count(won, 'node')} that {host} won; and of {results.nodes_told:,} nodes whether {host} "
        "won them."
    )
    if results.kept_sides is not None and results.kept_sides < results.sides_read:
        said += f" {results.kept_sides:,} of the sides are of trees that the model keeps."
    found = [said]
    if results.repeated_bits:
        scores = ", and scores of splits," if results.opened_sums else ""
        audit = ", which the audit leaves out" if results.audit else ""
        found.append(
            f"Sessions broke off: {guest} read at most {results.repeated_bits:,} bits more{scores} "
            f"of trees that were grown again{audit}."
        )
    if results.opened_sums:
        found.append(
            f"Besides, {results.opened_sums:,} scores of {host}’s splits opened to {guest}: each "
            f"is an equation, and of enough of them {guest} has the side of every row at every "
            "split (docs/vertical-trees.md)."
        )
    if results.audit:
        found.append(_most_told(results))
    return found


def _most_told(results: TreesResults) -> str:
    """Return of which of the host's columns most is told."""
    guest, host, audit = results.guest.name, results.host.name, results.audit or ()
    most = "" if all(each.collected is not None for each in audit) else " at most"
    first = sorted(audit, key=told, reverse=True)[:_MOST_NAMED]
    named = listing([f"{each.name} {percent(told(each))}" for each in first])
    said = (
        f"If {guest} were told, too, which column and threshold each side is of, it would know"
        f"{most} so much of how {host}’s columns vary: {named}."
    )
    scores = [percent(each.by_scores) for each in first if each.by_scores is not None]
    if scores:
        said += f" The model’s scores of the same rows alone tell {listing(scores)}."
    return said


def told(column: ColumnAudit) -> float:
    """Return what is told of a column, or the most that it can be."""
    return column.at_most if column.collected is None else column.collected


def audit_words(results: TreesResults) -> str:
    """Return what the columns of the audit mean."""
    guest, host = results.guest.name, results.host.name
    return (
        f"All of it is told to somebody who also knew the column and the threshold of each side. "
        f"{guest} is told neither, but sides that lie within others can show which belong "
        f"together. “Read” is by the sides that {guest} read: rows pass only some of the nodes. "
        f"“At most” is by the side of every row at each split that won a node. “By scores” is what "
        f"the model’s scores of the same rows alone say of a column, as goes with any use of the "
        f"model. How much a column varies is the variance of its ranks; of categories without an "
        f"order, how often two rows differ. A dash is what {host} alone cannot tell."
    )


def terms(results: TreesResults) -> list[tuple[str, str]]:
    """Return what was chosen, as far as it is known here."""
    rounds = f"{results.most_rounds:,} at most, {results.rounds:,} grown"
    if results.kept_rounds is not None:
        rounds += f", {results.kept_rounds:,} kept"
    found = [
        ("rounds", rounds),
        ("depth", f"{results.depth}"),
        ("the guest reads", _REVEALED[results.reveal]),
    ]
    if results.trees_a_round > 1:
        found.insert(1, ("trees a round", f"{results.trees_a_round}, one a class"))
    for side in (results.guest, results.host):
        if side.bins is not None:
            found.append((f"bins of {side.name}’s columns, at most", f"{side.bins}"))
    if results.learning_rate is not None:
        found.append(("learning rate", compact(results.learning_rate)))
    if results.l2 is not None:
        found.append(("L2 of leaves", compact(results.l2)))
    if results.validation_rows:
        found.append(("training rows held back", f"{results.validation_rows:,}"))
    if results.patience is not None:
        found.append(("ends after rounds without a smaller loss", f"{results.patience}"))
    if results.weighted:
        found.append(("rows", "weighted, but the held-out ones"))
    return found


def unseen(results: TreesResults) -> list[tuple[str, str]]:
    """Return what each side did not see."""
    scores = "; the score of any split" if results.reveal == "sides" else ""
    return never_seen(
        results,
        rows=f"any value of them; which column and threshold a side is of{scores}",
        labels="gradients, which row is in which node, what a leaf is worth",
        owns="how much your columns count",
    )


_REVEALED = {
    "sides": "sides of rows in nodes that the host won",
    "histograms": "the score of every split, and these sides",
}


def references(results: TreesResults) -> str:
    """Return what the models beside are."""
    stops = ", stopped by the same rule on as many rows" if results.losses else ""
    each = ", each class against the rest" if results.trees_a_round > 1 else ""
    return (
        "Alone and pooled are scikit-learn’s HistGradientBoosting on the same bins, with the same "
        f"depth, learning rate, L2 and number of rounds{stops}{each}; pooled is what a company "
        "that had both tables would get"
    )


def seen(results: TreesResults) -> list[tuple[str, str, str]]:
    """Return each message, who gets it, and what the receiver learns of it."""
    guest, host = results.guest.name, results.host.name
    won = sum(tree.won for tree in results.bits)
    found = [
        ("intersection", "both",
         f"which of its own rows the other has, too: {results.common_rows:,}"),
        ("plan", "both", "number of splits of the host, rows, trees, depth: all of it is public"),
        ("encrypted residuals of each node, requests for sides", host,
         "nothing: it has not the key"),
    ]  # fmt: skip
    if results.reveal == "histograms":
        found += [
            ("scores of the host’s splits, in an order drawn anew in each session", guest,
             f"the score of each split in each node, {results.opened_sums:,} in all. At nodes of "
             "few rows sums of few residuals place single rows; together they can tell all"),
            ("the best split’s place", host, "which of its splits won a node"),
        ]  # fmt: skip
    else:
        found += [
            ("masked scores of the host’s splits", guest,
             "nothing: uniform numbers, up to the distance that the plan bounds"),
            ("garbled contest", host, "which of its splits won a node, or that none did"),
        ]  # fmt: skip
    found += [
        ("result of the contest", guest,
         f"whether {host} won a node, a bit each: {won:,} of {results.nodes_told:,}"),
        ("masked sides", guest,
         f"for each row of a node that {host} won, which side it takes: "
         f"{'' if results.sides_exact else 'at most '}{results.sides_read:,} bits. Neither the "
         "column nor the threshold, and nothing of other rows"),
    ]  # fmt: skip
    if results.test_rows:
        found.append(scores_opened(results))
    return found
