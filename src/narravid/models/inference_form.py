"""A copy of a model that only computes, as fast as PyTorch can, and gives the same numbers.

Batch normalisation is folded into the weights, memory is laid out as the kernels want it, and nothing records
gradients. What it costs is done once, not in every forward pass.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

import torch
from torch import nn

from narravid.models.folding import fold_batch_norms
from narravid.models.resnet3d_layers import ResidualTrunk3D
from narravid.models.s3d import S3D
from narravid.models.s3d_folded import FoldedS3D
from narravid.models.view_convolutions import use_view_convolutions
from narravid.models.weights_hash import WeightsHash

__all__ = ["HasInferenceForm", "InferenceDtype"]

InferenceDtype = Literal["float32", "bfloat16"]
"""Arithmetic of the video tower: that of the weights, or bfloat16."""

VIDEO_TOWERS = ("video", "trunk")
"""What nearly all of the time goes into."""

TEXT_TOWER = "text"
"""What keeps its weights as they are: sentences are few, and their vectors stand for many comparisons."""


class HasInferenceForm(nn.Module):
    """A model with `for_inference`; the base of those that see pixels."""

    is_inference_form = False
    """Whether this is what `for_inference` gave: it cannot be trained, saved or changed into another form."""

    def for_inference(self, *, dtype: InferenceDtype = "float32", compiled: bool = False) -> Self:
        """A copy that only computes, with the numbers of this model in evaluation mode, up to rounding.

        Its `weights_hash` is that of this model, so that an index made with either is the same. It has no
        part in further training of this model.

        Args:
            dtype: "float32" leaves the weights as they are; "bfloat16" casts those of the video tower and
                its heads. Outputs are float32 either way, and sentences are embedded as before. It gains
                where the processor has instructions for it.
            compiled: Whether torch.compile makes the kernels of the video tower: a minute or so at the first
                clip, and again for another number or shape of clips. Needs a C++ compiler.

        Returns:
            A model of the same kind, in evaluation mode, on the same device, without gradients.

        Raises:
            ValueError: If this is such a copy already or `dtype` is not allowed.
        """
        if dtype not in get_args(InferenceDtype):
            raise ValueError(f"dtype must be 'float32' or 'bfloat16', got {dtype!r}")
        if self.is_inference_form:
            raise ValueError("this is an inference form already; call for_inference on the model itself")
        form = copy.deepcopy(self).eval().requires_grad_(False)
        form._hash = _KeptHash(str(self.weights_hash))  # type: ignore[assignment]  # all models have one
        for name, child in list(form.named_children()):
            if isinstance(child, S3D):
                form.add_module(name, FoldedS3D(child))
            else:
                _fold(child)
        if dtype == "bfloat16":
            for name, child in form.named_children():
                if name != TEXT_TOWER:
                    child.to(torch.bfloat16)
        if compiled:
            _compile(form)
        form.is_inference_form = True
        return form

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode.

        Raises:
            ValueError: If training is asked of an inference form.
        """
        if mode and self.is_inference_form:
            raise ValueError("an inference form cannot be trained; train the model that it was made of")
        return super().train(mode)


def _fold(module: nn.Module) -> None:
    fold_batch_norms(module)
    if isinstance(module, ResidualTrunk3D):
        use_view_convolutions(module)
        for part in module.modules():
            if isinstance(part, nn.Conv3d):
                part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last_3d)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)


def _compile(form: nn.Module) -> None:
    for name, child in form.named_children():
        if name not in VIDEO_TOWERS:
            continue
        if hasattr(child, "features"):
            child.features = torch.compile(child.features)  # type: ignore[assignment, arg-type]  # a method
        else:
            child.compile()


class _KeptHash(WeightsHash):
    """The hash of the model that a form was made of, whatever its tensors are now."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def __reduce__(self) -> tuple[type[WeightsHash], tuple[Any, ...]]:
        return _KeptHash, (self._value,)

    def of(self, config: Any, assets: Sequence[str] | None, tensors: Mapping[str, torch.Tensor]) -> str:  # noqa: ANN401
        """The kept hash."""
        return self._value
