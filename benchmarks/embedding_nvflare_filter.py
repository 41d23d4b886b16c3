"""Counting at a client of NVFlare, by a filter that is nearest to the server.

Bytes are those of the arrays in tasks and results. A round begins when its task arrives.
"""

from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO
from nvflare.apis.dxo_filter import DXOFilter

from benchmarks.embedding_work import Meter

__all__ = ["METER", "Counter"]

METER = Meter()  # of the client whose process this is


class Counter(DXOFilter):  # type: ignore[misc]  # NVFlare has no types
    """Counts what a client receives or sends."""

    def __init__(self, direction: str) -> None:
        super().__init__(supported_data_kinds=None, data_kinds_to_filter=None)
        self._direction = direction

    def process_dxo(self, dxo: DXO, shareable: Any, fl_ctx: Any) -> None:
        """Count, and leave all as it is."""
        if self._direction == "down":
            METER.note()
        count = sum(np.asarray(each).nbytes for each in dxo.data.values())
        setattr(METER, self._direction, getattr(METER, self._direction) + count)
