"""Per-row gradients of stacks of linear layers, of which no single one is ever stored.

With a row's input `a` to a layer and its gradient `δ` at the layer's output, the row's gradient is
the outer product δ·aᵀ for the weights and δ for the bias. So its squared norm is ‖δ‖²(‖a‖² + 1)
summed over layers (Goodfellow, arXiv 1510.01799), and a weighted sum over rows is δᵀ·diag(c)·a.
numpy in float64: on small networks torch's calls cost more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from privfed.errors import ConfigError
from privfed.training.vector import one_vector

Array = NDArray[np.float64]

_DROPOUTS = (nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout)
_NOTHING = (nn.Identity, *_DROPOUTS)  # dropout is off, see privfed.training.clipping
_ELEMENTWISE = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
)
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def linear_stack(model: nn.Module, features: Tensor) -> list[nn.Module] | None:
    """Return the layers of `model` if the closed form is its gradient on `features` (n, …).

    That is: `nn.Sequential`, nested or not, of exactly the layers known here, applied to vectors;
    every parameter trained and in one place only; no hooks. Else None.
    """
    layers = list(_leaves(model))
    linear = [layer for layer in layers if type(layer) is nn.Linear]
    known = (nn.Linear, nn.ReLU, nn.Flatten, *_NOTHING, *_ELEMENTWISE)
    own = [parameter for layer in linear for parameter in layer.parameters()]
    flat = features.ndim == 2 or (bool(layers) and type(layers[0]) is nn.Flatten)
    if (
        flat
        and linear
        and all(type(layer) in known for layer in layers)
        and all(_whole(layer) for layer in layers if isinstance(layer, nn.Flatten))
        and len({id(parameter) for parameter in own}) == len(own)
        and all(_plain(parameter) for parameter in own)
        and len({parameter.dtype for parameter in own}) == 1
        and not any(map(_altered, model.modules()))
        and not any(getattr(torch_module, f"_global{hooks}") for hooks in _HOOKS)
    ):
        return [layer for layer in layers if type(layer) not in (nn.Flatten, *_NOTHING)]
    return None


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for child in module:
            yield from _leaves(child)
    else:
        yield module


def _whole(flatten: nn.Flatten) -> bool:
    return flatten.start_dim == 1 and flatten.end_dim == -1


def _plain(parameter: nn.Parameter) -> bool:
    return (
        parameter.requires_grad
        and parameter.dtype in (torch.float32, torch.float64)
        and parameter.device.type == "cpu"
        and not parameter._backward_hooks  # noqa: SLF001  (torch has no other way to ask)
    )


def _altered(module: nn.Module) -> bool:
    """Return whether a call of `module` does more than its class does."""
    return "forward" in vars(module) or any(getattr(module, hooks) for hooks in _HOOKS)


class LinearStack:
    """Per-row gradients of layers that `linear_stack` returned, on rows that stay the same.

    Args:
        layers: A model's layers, moved into `one_vector`; weights are read anew at every call.
        features: (n, …) rows.
        labels: (n,) whole numbers if `row_losses` is None.
        row_losses: Each row's loss; None is the paper's cross-entropy, differentiated by hand.

    Raises:
        ConfigError: Rows or labels don't fit the layers.
    """

    def __init__(
        self,
        layers: list[nn.Module],
        features: Tensor,
        labels: Tensor,
        row_losses: Callable[[Tensor, Tensor], Tensor] | None,
    ) -> None:
        self._parameters = [each for layer in layers for each in layer.parameters()]
        self._find_weights()
        self._weights = np.empty(len(self._source))
        places = iter(_split(self._weights, self._parameters))
        self._layers = [_step(layer, places) for layer in layers]
        self._dense = [step for step in self._layers if isinstance(step, _Dense)]
        self._labels, self._row_losses = labels, row_losses
        self._features = features.detach().reshape(len(features), -1).numpy().astype(np.float64)
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        width = self._features.shape[1]
        if width != linear[0].in_features:
            raise ConfigError(
                f"the model takes {linear[0].in_features} features, rows have {width}"
            )
        if row_losses is None:
            self._classes = _classes(labels, linear[-1].out_features)

    def __call__(self, places: NDArray[np.intp]) -> _StackGradients:
        """Run the rows at `places` forward and backward; valid until the next call."""
        if self._addresses != list(map(Tensor.data_ptr, self._parameters)):
            self._find_weights()
        np.copyto(self._weights, self._source)
        values = self._features.take(places, axis=0)
        for layer in self._layers:
            values = layer.forward(values)
        delta = self._loss_gradient(values, places)
        for layer in reversed(self._layers):
            if layer is self._dense[0]:  # nobody needs the features' gradient
                self._dense[0].delta = delta
                break
            delta = layer.backward(delta)
        return _StackGradients(self._dense)

    def _find_weights(self) -> None:
        self._source = one_vector(self._parameters).detach().numpy()
        self._addresses = list(map(Tensor.data_ptr, self._parameters))

    def _loss_gradient(self, scores: Array, places: NDArray[np.intp]) -> Array:
        if self._row_losses is None:
            return _cross_entropy_gradient(scores, self._classes.take(places))
        leaf = torch.from_numpy(scores).requires_grad_()
        losses = self._row_losses(leaf, self._labels[torch.from_numpy(places)])
        if losses.shape != (len(places),):
            raise ConfigError("row_losses must give one loss for each row, not their mean")
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return gradient.numpy()


class _StackGradients:
    """`RowGradients` as the inputs of each linear layer and the gradients at its outputs."""

    def __init__(self, dense: list[_Dense]) -> None:
        self._dense = dense

    def squared_norms(self) -> Array:
        norms: list[Array] = []
        for layer in self._dense:
            norm = np.vecdot(layer.inputs, layer.inputs)
            if layer.bias is not None:
                norm += 1.0
            norm *= np.vecdot(layer.delta, layer.delta)
            norms.append(norm)
        total, *others = norms
        for norm in others:
            total += norm
        return total

    def weighted_sum(self, factors: Array, out: list[Array]) -> None:
        targets, column = iter(out), factors[:, None]
        for layer in self._dense:
            left, right = layer.delta, layer.inputs
            if left.shape[1] < right.shape[1]:  # scale the narrower
                left = left * column
            else:
                right = right * column
            np.matmul(left.T, right, out=next(targets))
            if layer.bias is not None:
                np.matmul(factors, layer.delta, out=next(targets))


class _Dense:
    """A linear layer, and what went through it last."""

    inputs: Array
    delta: Array

    def __init__(self, weight: Array, bias: Array | None) -> None:
        self.weight, self.bias = weight, bias

    def forward(self, values: Array) -> Array:
        self.inputs = values
        scores: Array = values @ self.weight.T
        if self.bias is not None:
            scores += self.bias
        return scores

    def backward(self, delta: Array) -> Array:
        self.delta = delta
        passed: Array = delta @ self.weight
        return passed


class _ReLU:
    def forward(self, values: Array) -> Array:
        self._output = np.maximum(values, 0.0)  # keeps NaN
        return self._output

    def backward(self, delta: Array) -> Array:
        return delta * (self._output > 0)


class _Elementwise:
    """An activation that torch differentiates."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer

    def forward(self, values: Array) -> Array:
        self._leaf = torch.from_numpy(values).requires_grad_()
        self._output: Tensor = self._layer(self._leaf.clone())  # in-place layers refuse leaves
        output: Array = self._output.detach().numpy()
        return output

    def backward(self, delta: Array) -> Array:
        (gradient,) = torch.autograd.grad(self._output, self._leaf, torch.from_numpy(delta))
        return gradient.numpy()


def _step(layer: nn.Module, places: Iterator[Array]) -> _Dense | _ReLU | _Elementwise:
    if isinstance(layer, nn.Linear):
        return _Dense(next(places), None if layer.bias is None else next(places))
    return _ReLU() if isinstance(layer, nn.ReLU) else _Elementwise(layer)


def _split(vector: Array, parameters: Sequence[nn.Parameter]) -> list[Array]:
    ends = list(accumulate((each.numel() for each in parameters), initial=0))
    return [
        vector[start:end].reshape(each.shape)
        for each, (start, end) in zip(parameters, pairwise(ends), strict=True)
    ]


def _classes(labels: Tensor, count: int) -> NDArray[np.int64]:
    classes = labels.numpy()
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise ConfigError("labels must be whole numbers, one for each row")
    if len(classes) and not (classes.min() >= 0 and classes.max() < count):
        raise ConfigError(f"labels must lie from 0 to {count - 1}: the model has {count} scores")
    return classes.astype(np.int64)


def _cross_entropy_gradient(scores: Array, classes: NDArray[np.int64]) -> Array:
    """Differentiate -log(σ(s_y)/Σσ(s_j)): (σ(s_j)/Σσ - [j = y])·σ(-s_j), safe for any size of s."""
    minus = -scores
    softplus = np.logaddexp(0.0, minus)  # -log σ(s)
    shares: Array = np.exp(np.minimum.reduce(softplus, axis=1, keepdims=True) - softplus)
    shares /= np.add.reduce(shares, axis=1, keepdims=True)
    shares -= classes[:, None] == np.arange(scores.shape[1])
    minus -= softplus
    shares *= np.exp(minus, out=minus)  # σ(-s) = σ(s)·e^-s
    return shares
