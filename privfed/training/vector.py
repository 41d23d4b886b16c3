"""A model's parameters as one vector, so that a step costs a few calls, however many they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import nn

from privfed.errors import ConfigError


def one_vector(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """Move parameters into one vector, unless they lie in one already.

    To everybody else the parameters stay what they were. But now they are views of the vector, in
    their order: a step of the vector is a step of all of them.

    Args:
        parameters: At least one, each once.

    Returns:
        The vector.

    Raises:
        ConfigError: They are of several number types, or on several devices.
    """
    first = parameters[0]
    if any((each.dtype, each.device) != (first.dtype, first.device) for each in parameters):
        raise ConfigError(
            "the trained parameters are of several number types or on several devices: "
            "give them one, by model.to(...)"
        )
    ends = list(accumulate((each.numel() for each in parameters), initial=0))
    if not all(
        each.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and each.storage_offset() == first.storage_offset() + start
        and each.is_contiguous()
        for each, start in zip(parameters, ends, strict=False)
    ):
        whole = torch.cat([each.detach().flatten() for each in parameters])
        for each, (start, end) in zip(parameters, pairwise(ends), strict=True):
            each.data = whole[start:end].view_as(each)
    return nn.Parameter(first.detach().as_strided((ends[-1],), (1,)))
