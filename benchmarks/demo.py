"""What `make demo` reaches and costs, for several seeds: `python benchmarks/demo.py --seeds 0 1 2`.

Prints, for each seed, retrieval in the held-out videos, searches answered, seconds and the most memory that
all its processes held together (Linux; the sum of resident sizes, which counts shared pages more than once).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POLL_SECONDS = 0.5
GIBIBYTE_KIB = 1024**2
HEADER = (
    "seed  R@1 %  R@5 %  R@10 %  MedR | control R@10 %  MedR | untrained R@10 % | searches | seconds | GiB"
)


def main() -> None:
    """Run the demo once for each seed and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, help="keep the reports here; a temporary folder otherwise")
    options = parser.parse_args()
    print(HEADER)
    with tempfile.TemporaryDirectory() as temporary:
        for seed in options.seeds:
            output = (options.output or Path(temporary)) / f"seed{seed}"
            print(_row(seed, output), flush=True)


def _row(seed: int, output: Path) -> str:
    started = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "narravid.cli.main",
        "demo",
        "--output",
        str(output),
        "--seed",
        str(seed),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_kib = 0
    while process.poll() is None:
        peak_kib = max(peak_kib, _resident_kib(process.pid))
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        return f"{seed:>4}  failed with status {process.returncode}"
    metrics = json.loads((output / "metrics.json").read_text())
    trained, control, untrained = (metrics["retrieval"][name] for name in ("trained", "control", "untrained"))
    searches = [query["correct"] for query in metrics["queries"]]
    recalls = "  ".join(f"{100 * trained[key]:>5.1f}" for key in ("R@1", "R@5", "R@10"))
    return (
        f"{seed:>4}  {recalls}  {trained['MedR']:>5g} | "
        f"{100 * control['R@10']:>14.1f}  {control['MedR']:>4g} | "
        f"{100 * untrained['R@10']:>16.1f} | {sum(searches):>5}/{len(searches)} | {seconds:>7.0f} | "
        f"{peak_kib / GIBIBYTE_KIB:.1f}"
    )


def _resident_kib(root: int) -> int:
    """Resident memory of a process and all its descendants."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue  # the process has ended meanwhile
        pid = int(status.parent.name)
        parents[pid] = int(fields["PPid"])
        resident[pid] = int(fields.get("VmRSS", "0 kB").split()[0])
    total = 0
    for pid in resident:
        ancestor: int | None = pid
        while ancestor is not None and ancestor != root:
            ancestor = parents.get(ancestor)
        total += resident[pid] if ancestor == root else 0
    return total


if __name__ == "__main__":
    main()
