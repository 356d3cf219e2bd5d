"""The parts of a model as plain networks from tensors to tensors, for programs that know nothing of it.

Whatever a model does to pixels or word ids before its first layer is inside, so that nobody can forget it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from narravid.errors import NarravidError
from narravid.models.aligner import TemporalAligner
from narravid.models.cpd import CPDDualEncoder
from narravid.models.dual_encoder import S3DDualEncoder
from narravid.models.folding import fold_batch_norms
from narravid.models.gated_embedding import GatedDualEncoder
from narravid.models.resnet2d import ResNet2DExtractor
from narravid.models.s3d import S3D
from narravid.models.s3d_volumes import VolumeS3D
from narravid.models.viclip import ViCLIP
from narravid.models.video_classifier import VideoClassifier

__all__ = ["TensorSpec", "Tower", "towers_of", "video_tower"]

Network = TypeVar("Network", bound=nn.Module)

Dim = int | str
"""A size that is fixed, or the name of one that is free."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a tower.

    Attributes:
        name: What it is called.
        dtype: Of its numbers.
        shape: Its sizes; those with a name are free, and the same wherever the name is.
        below: For whole numbers, what they are all below; they begin at 0.
    """

    name: str
    dtype: Literal["uint8", "int64", "float32"]
    shape: tuple[Dim, ...]
    below: int | None = None

    def random(self, sizes: Mapping[str, int], generator: torch.Generator) -> torch.Tensor:
        """A random tensor of this kind: uniform pixels and ids, normal floats.

        Args:
            sizes: Of the free dimensions, by name.
            generator: Source of the numbers.
        """
        shape = [dim if isinstance(dim, int) else sizes[dim] for dim in self.shape]
        if self.dtype == "float32":
            return torch.randn(shape, generator=generator)
        dtype = torch.uint8 if self.dtype == "uint8" else torch.int64
        return torch.randint(0, self.below or 256, shape, generator=generator, dtype=dtype)


@dataclass(frozen=True, eq=False)
class Tower:
    """A network from tensors to tensors.

    Attributes:
        name: `video`, `text`, `features` or `align`.
        module: In evaluation mode, on the CPU, with nothing left to fold; takes the inputs in order and gives
            a tuple of the outputs.
        inputs: What it takes.
        outputs: What it gives.
        largest: Of free dimensions that may not be of any size, how large they may be.
    """

    name: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    largest: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.module.eval()


def towers_of(model: object) -> tuple[Tower, ...]:
    """All towers of a model.

    Args:
        model: Any kind of model; it stays as it is.

    Returns:
        Its towers, on the CPU: `video` of what sees pixels, `features` of what takes features, `text` of
        what reads sentences, `align` of an aligner.

    Raises:
        NarravidError: If it is of no kind with towers.
    """
    if isinstance(model, S3DDualEncoder | CPDDualEncoder | ViCLIP):
        return video_tower(model), _text_tower(_exportable(model), _length(model), model.embed_dim)
    if isinstance(model, VideoClassifier | ResNet2DExtractor):
        return (video_tower(model),)
    if isinstance(model, GatedDualEncoder):
        return _gated_towers(_exportable(model))
    if isinstance(model, TemporalAligner):
        form = _exportable(model)
        text = _text_tower(form, model.config.max_words, model.config.text.embed_dim)
        return _align_tower(form), text
    raise _not_exportable(model)


def video_tower(model: object, *, size: tuple[int, int, int] | None = None) -> Tower:
    """The tower that sees pixels.

    Args:
        model: A model that does; it stays as it is.
        size: Frames, height and width of its clips; None as its clip specification says.

    Returns:
        A tower from `clips`, uint8 pixels, to `embedding` and `feature`, or to `feature` and `logits`.

    Raises:
        NarravidError: If the model is of no kind that can be exported.
    """
    if not isinstance(model, S3DDualEncoder | CPDDualEncoder | ViCLIP | VideoClassifier | ResNet2DExtractor):
        raise _not_exportable(model)
    spec = model.clip_spec
    if size is None:
        size = (spec.num_frames, spec.size_pixels, spec.size_pixels)
    feature = TensorSpec("feature", "float32", ("batch", model.feature_dim))
    if isinstance(model, VideoClassifier | ResNet2DExtractor):
        head, second = "class_logits", ("logits", model.config.num_classes)
    else:
        head, second = "embed_features", ("embedding", model.embed_dim)
    return Tower(
        "video",
        _Video(_exportable(model), head),
        (TensorSpec("clips", "uint8", ("batch", 3, *size)),),
        (feature, TensorSpec(second[0], "float32", ("batch", second[1]))),
    )


class _Video(nn.Module):
    def __init__(self, model: nn.Module, head: str) -> None:
        super().__init__()
        self.model: Any = model
        self.head = head

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.model.video_features(clips)
        if self.head == "embed_features":
            return features, self.model.embed_features(features)
        return features, self.model.classifier(features)


class _Text(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor]:
        embedding: torch.Tensor = self.model.text(tokens)
        return (embedding.float(),)


class _GatedWords(nn.Module):
    def __init__(self, model: GatedDualEncoder) -> None:
        super().__init__()
        self.text = model.text
        self.table: torch.Tensor
        self.register_buffer("table", model.word_table)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.text(F.embedding(tokens, self.table)),)


class _Single(nn.Module):
    """A network with one input and one output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.network(inputs),)


class _Align(nn.Module):
    def __init__(self, model: TemporalAligner) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = self.model.align(features, text)
        outputs = (given.dual, given.joint, given.alignability_dual, given.alignability_joint)
        return tuple(output for output in outputs if output is not None)


def _text_tower(form: nn.Module, length: int, embed_dim: int) -> Tower:
    text: Any = form.get_submodule("text")
    num_ids = getattr(text.config, "num_embeddings", None) or getattr(text.config, "num_pieces", None)
    below = num_ids or text.config.num_ids
    return Tower(
        "text",
        _Text(form),
        (TensorSpec("tokens", "int64", ("sentences", length), below=below),),
        (TensorSpec("embedding", "float32", ("sentences", embed_dim)),),
    )


def _gated_towers(form: GatedDualEncoder) -> tuple[Tower, ...]:
    config = form.config
    features = Tower(
        "features",
        _Single(form.video),
        (TensorSpec("features", "float32", ("batch", config.feature_spec.feature_dim)),),
        (TensorSpec("embedding", "float32", ("batch", config.embed_dim)),),
    )
    outputs = (TensorSpec("embedding", "float32", ("sentences", config.embed_dim)),)
    if form.word_table is None:
        vectors = TensorSpec("word_vectors", "float32", ("sentences", config.max_words, config.word_dim))
        return features, Tower("text", _Single(form.text), (vectors,), outputs)
    tokens = TensorSpec("tokens", "int64", ("sentences", config.max_words), below=len(form.word_table))
    return features, Tower("text", _GatedWords(form), (tokens,), outputs)


def _align_tower(form: TemporalAligner) -> Tower:
    config = form.config
    layers = max(config.num_encoder_layers, 1)
    outputs = [
        TensorSpec("dual", "float32", ("videos", layers, "seconds", "sentences")),
        TensorSpec("joint", "float32", ("videos", config.num_joint_layers, "seconds", "sentences")),
    ]
    if config.alignability_head:
        shape = ("videos", config.num_joint_layers, "sentences")
        outputs.append(TensorSpec("alignability_dual", "float32", ("videos", "sentences")))
        outputs.append(TensorSpec("alignability_joint", "float32", shape))
    return Tower(
        "align",
        _Align(form),
        (
            TensorSpec("features", "float32", ("videos", "seconds", config.feature_spec.feature_dim)),
            TensorSpec("text", "float32", ("videos", "sentences", config.text.embed_dim)),
        ),
        tuple(outputs),
        {"seconds": config.max_positions}
        | ({"sentences": config.max_positions} if config.text_positions else {}),
    )


def _exportable(model: Network) -> Network:
    """A copy on the CPU without batch normalisations and without layouts that suit PyTorch alone."""
    if getattr(model, "is_inference_form", False):
        raise ValueError("an inference form cannot be exported; export the model that it was made of")
    form = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    for name, child in list(form.named_children()):
        if isinstance(child, S3D):
            form.add_module(name, VolumeS3D(child))
        else:
            fold_batch_norms(child)
    return form


def _length(model: S3DDualEncoder | CPDDualEncoder | ViCLIP) -> int:
    """Ids of a sentence, as the model's own tokenizer gives them."""
    if isinstance(model, S3DDualEncoder):
        return model.config.max_words
    return model.config.max_tokens if isinstance(model, CPDDualEncoder) else model.config.text.context_length


def _not_exportable(model: object) -> NarravidError:
    return NarravidError(
        f"a {type(model).__name__} cannot be exported; S3D, CPD, ViCLIP, HowTo100M's models, ResNet, "
        "ResNeXt, their classifiers and temporal aligners can"
    )
