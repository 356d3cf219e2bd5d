"""Towers as files: ONNX, OpenVINO's own format, or an exported program of PyTorch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from narravid.extras import import_extra
from narravid.models.towers import TensorSpec, Tower

__all__ = ["ExportFormat", "example_inputs", "write_tower"]

ExportFormat = Literal["onnx", "openvino", "torch-export"]
"""`onnx` runs nearly everywhere, `openvino` on processors without a conversion, `torch-export` in PyTorch
without the code of the model."""

EXTRA = "fast"

SUFFIXES: dict[ExportFormat, str] = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}

EXAMPLE_SIZE = 2
"""Of the first free dimension of an example; PyTorch takes 0 and 1 for special. Others are larger by one
each, so that no two are mixed up."""

MOST_INSIDE_BYTES = 1_500_000_000
"""Weights that an ONNX file holds itself; more lie in a second file beside it. It must stay below 2 GB."""


def write_tower(tower: Tower, folder: Path, *, export_format: ExportFormat) -> Path:
    """Write a tower into a folder.

    Args:
        tower: The tower.
        folder: Where to; an OpenVINO file has its weights in a second file beside it.
        export_format: What to write.

    Returns:
        The file, named after the tower.

    Raises:
        ValueError: If there is no such format.
        MissingExtraError: If the library that writes it is not installed.
    """
    if export_format not in get_args(ExportFormat):
        known = ", ".join(get_args(ExportFormat))
        raise ValueError(f"format must be one of {known}, got {export_format!r}")
    path = folder / f"{tower.name}{SUFFIXES[export_format]}"
    if export_format == "torch-export":
        torch.export.save(_exported(tower), path)
    elif export_format == "onnx":
        _write_onnx(tower, path)
    else:
        _write_openvino(tower, path)
    return path


def example_inputs(tower: Tower, *, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Random inputs, every free dimension of another size."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {name: EXAMPLE_SIZE + place for place, name in enumerate(_free(tower.inputs))}
    return tuple(spec.random(sizes, generator) for spec in tower.inputs)


def _free(specs: tuple[TensorSpec, ...]) -> list[str]:
    return list(dict.fromkeys(dim for spec in specs for dim in spec.shape if isinstance(dim, str)))


def _exported(tower: Tower) -> torch.export.ExportedProgram:
    dims = {name: torch.export.Dim(name, min=1, max=tower.largest.get(name)) for name in _free(tower.inputs)}
    shapes = tuple(
        {axis: dims[dim] for axis, dim in enumerate(spec.shape) if isinstance(dim, str)}
        for spec in tower.inputs
    )
    with _quiet(), torch.no_grad():
        return torch.export.export(tower.module, example_inputs(tower), dynamic_shapes=shapes)


def _write_onnx(tower: Tower, path: Path) -> None:
    for module in ("onnx", "onnxscript"):
        import_extra(module, extra=EXTRA, feature="export to ONNX")
    num_bytes = sum(tensor.nbytes for tensor in tower.module.state_dict().values())
    program = _exported(tower)
    with _quiet(), torch.no_grad():
        written = torch.onnx.export(program, (), dynamo=True, verbose=False)
        if written is None:
            raise RuntimeError("PyTorch gave no ONNX program")
        _name_ends(written.model.graph, tower)
        written.save(path, external_data=num_bytes > MOST_INSIDE_BYTES)


def _name_ends(graph: Any, tower: Tower) -> None:  # noqa: ANN401 - of a library without types
    """Give inputs and outputs the names of the tower, and free those inside, such as that of an operator."""
    names = {spec.name for spec in (*tower.inputs, *tower.outputs)}
    for node in graph:
        for value in node.outputs:
            if value.name in names:
                value.name = f"{value.name}_inside"
    for value, spec in zip([*graph.inputs, *graph.outputs], [*tower.inputs, *tower.outputs], strict=True):
        value.name = spec.name


def _write_openvino(tower: Tower, path: Path) -> None:
    openvino = import_extra("openvino", extra=EXTRA, feature="export to OpenVINO")
    # The way through ONNX takes a fraction of the time of the direct one, and the result is as fast.
    detour = path.with_suffix(".onnx")
    try:
        _write_onnx(tower, detour)
        model = openvino.convert_model(str(detour))
        openvino.save_model(model, str(path), compress_to_fp16=False)
    finally:
        for leftover in path.parent.glob(f"{detour.name}*"):
            leftover.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the libraries have to say of each other's calls that will change one day."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=FutureWarning)
            warnings.simplefilter("ignore", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
