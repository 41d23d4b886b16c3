"""Training with a partner: companies, each on its own machine, and a server that reads nothing.

All sign one `Plan`. `server` adds what it cannot read, `trainer` is one company's side: it trains
on its own rows and on the means that it opens itself. gRPC is imported only with one of these.
"""

from privfed.partner.plan import Plan, PlanParty

__all__ = ["Plan", "PlanParty"]
