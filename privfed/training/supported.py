"""Which models have per-row gradients here; others are refused by name, with what to do."""

from __future__ import annotations

from torch import nn

from privfed.errors import ConfigError

# By class, of which some are made only where a package is there. What each hides, and the remedy.
_WRAPPERS = {
    "AbstractGradSampleModule": "is Opacus's, which clips and counts by itself: give the module "
    "that it wraps, model.to_standard_module()",
    "DataParallel": "splits batches over devices: give the module that it wraps, model.module",
    "DistributedDataParallel": "adds up gradients of other processes before they are clipped: "
    "give the module that it wraps, model.module",
    "DPDDP": "adds up gradients of other processes: give the module that it wraps",
    "FullyShardedDataParallel": "spreads weights over processes: give the module that it wraps",
    "OptimizedModule": "is compiled, which may fuse a row's rounding with that of others: give "
    "the module itself, model._orig_mod",
    "ScriptModule": "is TorchScript, whose layers cannot be looked into: give the module that it "
    "was made from",
}
_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")
_QUANTISING = ("torch.ao.quantization", "torch.ao.nn.qat", "torch.ao.nn.intrinsic.qat")


def check_model(model: nn.Module) -> None:
    """Refuse what hides the model, and layers that mix rows or that training would fill from rows.

    Raises:
        ConfigError: Names the layer and the remedy.
    """
    for name, parameter in model.named_parameters():
        _check_parameter(f"parameter {name!r}", parameter)
    for name, module in model.named_modules():
        layer = f"layer {name!r} ({type(module).__name__})" if name else _whole(module)
        _check_wrapper(layer, module)
        own = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  (torch has no other name for all of them)
            if own or module.training or not module.track_running_stats:
                raise ConfigError(
                    f"{layer} mixes the rows of a batch, so no row has a gradient of its own: "
                    "use GroupNorm, or opacus.validators.ModuleValidator.fix(model); one whose "
                    "statistics are public may stay, frozen and in eval()"
                )
        elif own and getattr(module, "track_running_stats", False):
            raise ConfigError(
                f"{layer} keeps statistics of the rows, which private training leaves as they are: "
                "use track_running_stats=False, or freeze the layer"
            )


def _whole(module: nn.Module) -> str:
    return f"the model ({type(module).__name__})"


def _check_parameter(name: str, parameter: nn.Parameter) -> None:
    if nn.parameter.is_lazy(parameter):
        raise ConfigError(f"{name} has no shape yet: call the model once, on a row of no one")
    if parameter.device.type != "cpu":
        raise ConfigError(f"{name} is on {parameter.device}: rows are computed here, model.cpu()")
    if parameter.is_complex():
        raise ConfigError(f"{name} is complex: train torch.view_as_real of it")
    if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:  # noqa: SLF001  (torch has no other way to ask)
        raise ConfigError(
            f"{name} has a hook on its gradient, which rows' gradients do not run: take it off, "
            "and change the noisy sum instead"
        )


def _check_wrapper(layer: str, module: nn.Module) -> None:
    for kind in type(module).__mro__:
        if kind.__name__ in _WRAPPERS:
            raise ConfigError(f"{layer} {_WRAPPERS[kind.__name__]}")
        if kind.__module__.startswith(_QUANTISED):
            raise ConfigError(
                f"{layer} is quantised and has no gradients: train the model before it is "
                "quantised, then convert it"
            )
        if kind.__module__.startswith(_QUANTISING):
            raise ConfigError(
                f"{layer} keeps the range of what it sees, which would leave without noise: train "
                "the model as it was before torch.ao.quantization prepared it"
            )
    if getattr(module, "_compiled_call_impl", None) is not None:
        raise ConfigError(f"{layer} is compiled in place: give a model without module.compile()")
    if hasattr(module, "autograd_grad_sample_hooks"):
        raise ConfigError(
            f"{layer} has Opacus's hooks: call to_standard_module() of what made them"
        )
