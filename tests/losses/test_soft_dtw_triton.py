"""The Triton backend of soft-DTW: interpreted on the processor, compiled for CUDA, and run there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from losses.soft_dtw_triton_job import CASES
from narravid.errors import MissingExtraError
from narravid.losses import S2DTWLoss, soft_dtw

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """The report of the job, run by Triton's interpreter in a process of its own."""
    pytest.importorskip("triton")
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "OMP_NUM_THREADS": "1",
        "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton")),
    }
    job = Path(__file__).with_name("soft_dtw_triton_job.py")
    result = subprocess.run(
        [sys.executable, str(job)], capture_output=True, text=True, env=environment, timeout=240, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("case", CASES)
def test_the_interpreted_kernels_give_the_numbers_of_the_torch_backend(interpreted, case):
    # Rounding of up to 25 partial sums of about 10.
    assert max(interpreted["double"][case]) < 1e-12


def test_the_interpreted_kernels_keep_single_precision(interpreted):
    dtype, difference = interpreted["single"]
    assert dtype == "torch.float32"
    assert 0 < difference < 1e-4


def test_s2dtw_goes_through_the_interpreted_kernels(interpreted):
    assert interpreted["s2dtw"] < 1e-12


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from narravid.losses import soft_dtw_triton as kernels

for real in ("*fp32", "*fp64"):
    table = {"cost": real, "limits": "*i64", "table": real}
    flows = {"limits": "*i64", "table": real, "flows": real, "alignment": real}
    sizes = {"num_rows": "i32", "num_columns": "i32"}
    for kernel, signature in (
        (kernels._fill_table, table | sizes | {"num_lines": "i32", "block": "constexpr"}),
        (kernels._flow_back, flows | sizes | {"block": "constexpr"}),
    ):
        source = ASTSource(fn=kernel, signature=signature, constexprs={"block": kernels.MAX_BLOCK})
        compiled = compile(source, target=GPUTarget("cuda", 80, 32), options=kernels.OPTIONS)
        assert "bar.sync" in compiled.asm["ptx"]  # between one anti-diagonal and the next
        assert "ld.global.nc" not in compiled.asm["ptx"]  # which would not see what was written just before
        print(len(compiled.asm["cubin"]))
"""


def test_the_kernels_compile_for_cuda_without_a_device(tmp_path):
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    result = subprocess.run(
        [sys.executable, "-c", COMPILE],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert [int(size) > 0 for size in result.stdout.split()] == [True] * 4


def test_triton_where_it_cannot_run_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="backend 'triton' computes on CUDA, but the tensors are on cpu"):
        soft_dtw(torch.zeros(1, 2, 2), gamma=1.0, backend="triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(MissingExtraError, match=r"triton, which is not installed: .*narravid\[gpu\]"):
        soft_dtw(torch.zeros(1, 2, 2), gamma=1.0, backend="triton")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("shape", "bandwidth"),
    [
        ((2, 1, 1), None),
        ((3, 40, 57), None),
        ((4, 700, 1300), None),
        ((2, 700, 650), 60),
        ((1, 3000, 9000), None),
    ],
)
def test_cuda_gives_the_numbers_of_the_processor(shape, bandwidth, dtype):
    cost = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    row_mask = torch.arange(shape[1]) < torch.arange(shape[1], shape[1] - shape[0], -1)[:, None]
    results = []
    for device, backend in (("cpu", "auto"), ("cuda", "triton")):
        leaf = cost.to(device).requires_grad_()
        value = soft_dtw(leaf, gamma=0.1, bandwidth=bandwidth, row_mask=row_mask.to(device), backend=backend)
        value.sum().backward()
        results.append((value.detach().cpu(), leaf.grad.cpu()))
    # Partial sums of up to 12,000 cells.
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-2}
    torch.testing.assert_close(results[1][0], results[0][0], **tolerance)
    torch.testing.assert_close(results[1][1], results[0][1], **tolerance)


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("backend", ["auto", "triton", "torch"])
def test_s2dtw_on_cuda_gives_the_numbers_of_the_processor(backend):
    generator = torch.Generator().manual_seed(0)
    video, text = (
        torch.nn.functional.normalize(torch.randn(9, 8, 32, generator=generator), dim=-1) for _ in range(2)
    )
    results = []
    for device, chosen in (("cpu", "auto"), ("cuda", backend)):
        leaves = [side.to(device).requires_grad_() for side in (video, text)]
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = S2DTWLoss(backend=chosen)(*leaves)
        assert loss.dtype == torch.float32
        loss.backward()
        results.append([loss.detach().cpu(), *(leaf.grad.cpu() for leaf in leaves)])
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
