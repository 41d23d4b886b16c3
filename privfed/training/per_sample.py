"""Per-row gradients of any model by Opacus's hooks, a layer at a time.

Yousefpour et al., "Opacus: User-Friendly Differential Privacy Library in PyTorch",
arXiv 2109.12298.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch import Tensor, nn

from privfed.errors import ConfigError
from privfed.training.row_grid import Array
from privfed.training.row_tiles import MIXES, made_up

_CHUNK = 1024  # rows at once; bounds memory
_PROBED = 8
_TRACES = ("grad_sample", "summed_grad", "_forward_counter", "_current_grad_sample")


class OpacusGradients:
    """Per-row gradients of `model` on rows that stay the same; the model is left unchanged.

    Args:
        model: Anything that Opacus supports.
        features: (n, …) rows.
        labels: (n,).
        row_losses: Each row's loss.

    Raises:
        ConfigError: A layer mixes rows or is unknown to Opacus; names it and the remedy.
    """

    def __init__(
        self,
        model: nn.Module,
        features: Tensor,
        labels: Tensor,
        row_losses: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        _check_opacus(model)
        self._model, self._row_losses = model, row_losses
        self._features, self._labels = features, labels
        self._check_mixing()

    def __call__(self, places: NDArray[np.intp]) -> Iterator[list[Array]]:
        """Run the rows at `places` forward and backward, some after others."""
        for start in range(0, len(places), _CHUNK):
            chosen = torch.from_numpy(places[start : start + _CHUNK])
            yield self._of(self._features[chosen], self._labels[chosen])

    def _of(self, features: Tensor, labels: Tensor) -> list[Array]:
        trained = [p for p in self._model.parameters() if p.requires_grad]
        with _hooked(self._model) as sampled:
            losses = self._row_losses(sampled(features), labels)
            if losses.shape != (len(features),):
                raise ConfigError("row_losses must give one loss for each row, not their mean")
            # autograd.grad leaves no unclipped sum behind in .grad, as backward would
            torch.autograd.grad(losses.sum(), trained, allow_unused=True)
            return [_samples(p, len(features)) for p in trained]

    def _check_mixing(self) -> None:
        """Compare one row's gradient beside others and beside others again: rows of no one.

        On somebody's rows a refusal would tell of them.

        Raises:
            ConfigError: The model or its loss mixes rows.
        """
        found = []
        for seed in range(3):
            rows, labels = (made_up(each, _PROBED, seed) for each in (self._features, self._labels))
            rows[:1], labels[:1] = made_up(self._features, 1, -1), made_up(self._labels, 1, -1)
            found.append(np.concatenate(self._of(rows, labels), axis=1)[0])
        if not all(np.allclose(each, found[0], rtol=1e-3, atol=1e-6) for each in found):
            raise ConfigError(MIXES)


def _samples(parameter: nn.Parameter, rows: int) -> NDArray[np.float64]:
    sample = getattr(parameter, "grad_sample", None)
    if sample is None:  # the scores don't depend on it
        return np.zeros((rows, parameter.numel()))
    if not isinstance(sample, Tensor) or len(sample) != rows:
        raise ConfigError(
            "the model does not carry one row of features to one row of scores: "
            "per-row gradients need the rows in the first dimension throughout"
        )
    return sample.detach().reshape(rows, -1).cpu().numpy().astype(np.float64)


@contextmanager
def _hooked(model: nn.Module) -> Iterator[nn.Module]:
    training = {module: module.training for module in model.modules()}
    sampled = GradSampleModule(model, loss_reduction="sum")
    try:
        # Opacus works in training mode, and only there; what has no weights (dropout) stays out.
        model.eval()
        for module in sampled.iterate_submodules(model):
            module.training = True
        with warnings.catch_warnings():
            # Opacus hooks the first layer, too, whose input needs no gradient: torch warns of it.
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            yield sampled
    finally:
        sampled.to_standard_module()  # removes the hooks
        for module, was in training.items():
            module.training = was
            vars(module).pop("activations", None)
        for parameter in model.parameters():
            for trace in _TRACES:
                vars(parameter).pop(trace, None)


def check_layers(model: nn.Module) -> None:
    """Refuse layers that mix rows, or that training would fill from rows without noise.

    Raises:
        ConfigError: Names the layer and the remedy.
    """
    for name, module in model.named_modules():
        layer = f"layer {name!r} ({type(module).__name__})"
        trained = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  (torch has no other name for all of them)
            if trained or module.training or not module.track_running_stats:
                raise ConfigError(
                    f"{layer} mixes the rows of a batch, so no row has a gradient of its own: "
                    "use GroupNorm, or opacus.validators.ModuleValidator.fix(model); one whose "
                    "statistics are public may stay, frozen and in eval()"
                )
        elif trained and next(module.buffers(recurse=False), None) is not None:
            raise ConfigError(
                f"{layer} keeps buffers that training would fill from the rows without noise: "
                "leave them out, or freeze the layer"
            )


def _check_opacus(model: nn.Module) -> None:
    for name, module in model.named_modules():
        validate = ModuleValidator.VALIDATORS.get(type(module))
        trained = any(parameter.requires_grad for parameter in module.parameters())
        if validate is not None and trained and validate(module):
            raise ConfigError(
                f"layer {name!r} ({type(module).__name__}) has no per-row gradients in Opacus: "
                "use opacus.validators.ModuleValidator.fix(model)"
            )
