"""A linear probe on real actions: `python benchmarks/probe.py ACTIONS --output FOLDER`.

ACTIONS is a folder of videos with `labels.csv` (video_id,label,set,sequence), such as UT-Interaction. Odd
sequences are to learn from, even ones to judge by. An S3D is trained from random weights by `narravid train`,
first on the narration of a toy world, then on the labels of the training clips; no test clip is seen, not
even to choose an epoch. `narravid evaluate probe` then compares its features with small pictures of the
pixels and with the same network untrained. The commands are printed as they are run. Started again with the
same options, it goes on with the runs in FOLDER; other options need another folder.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tables import fill_in

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "evaluation.md"
OF_THE_RUNS = (
    "toy_steps",
    "epochs",
    "batch_size",
    "learning_rate",
    "num_frames",
    "fps",
    "size_pixels",
    "seed",
)
"""Options on which the trained networks depend."""


def main() -> None:
    """Write the lists, train, evaluate, print a table."""
    options = parse()
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    claim(output, options)
    labels, training = write_lists(options.actions, output)
    toy, model, result = output / "toy", output / "model", output / "result"
    seed = ["--seed", str(options.seed)]
    train(toy, "milnce", "--preset", "tiny", *steps(options.toy_steps), *seed)
    train(model, "cpd-finetune", "--init", str(toy), *fine_tuning(options, training))
    run(
        *("evaluate", "probe", "--model", str(model), "--labels", str(labels), "--output", str(result)),
        *("--clips", options.clips, "--baselines", "--workers", str(options.workers), *seed),
        *([] if options.num_windows is None else ["--num-windows", str(options.num_windows)]),
    )
    lines = table(json.loads((result / "result.json").read_text(encoding="utf-8")))
    print(lines)
    if options.write:
        fill_in(PAGE, lines, script="probe.py")


def parse() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("actions", type=Path, help="folder of the videos with labels.csv")
    parser.add_argument(
        "--output", type=Path, required=True, help="lists, runs and result; what is there is used"
    )
    parser.add_argument(
        "--toy-steps", type=int, help="steps on the toy world; as the preset says when absent"
    )
    parser.add_argument("--epochs", type=int, default=100, help="passes over the training clips")
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--num-frames", type=int, default=16, help="frames of a training clip")
    parser.add_argument("--fps", type=float, default=7.5, help="frames per second of a training clip")
    parser.add_argument("--size-pixels", type=int, default=64)
    parser.add_argument("--clips", choices=("native", "model"), default="model", help="windows of the probe")
    parser.add_argument("--num-windows", type=int, help="windows of the probe; ten when absent")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    return parser.parse_args()


def claim(output: Path, options: argparse.Namespace) -> None:
    """Write down what the runs of a folder are made with; end the program where it was something else."""
    listed = (options.actions / "labels.csv").read_bytes()
    wanted = {name: getattr(options, name) for name in OF_THE_RUNS} | {
        "actions": str(options.actions.resolve()),
        "labels.csv": hashlib.sha256(listed).hexdigest(),
    }
    path = output / "options.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in wanted if known.get(name) != wanted[name]]
        if differing:
            raise SystemExit(
                f"the runs in {output} were made with other options ({', '.join(differing)}; see {path}): "
                "choose another --output"
            )
    elif (output / "toy").exists() or (output / "model").exists():
        raise SystemExit(f"{output} has runs but no {path.name} that says of what: choose another --output")
    else:
        path.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def train(folder: Path, recipe: str, *words: str) -> None:
    """Train to the end: from the start, or on from the newest checkpoint of a run that is there.

    A run that is finished says so and trains nothing.
    """
    if (folder / "config.json").exists():
        run("resume", str(folder))
    else:
        run("train", recipe, "--output", str(folder), *words)


def write_lists(actions: Path, output: Path) -> tuple[Path, Path]:
    """The list of the probe, and that of training, which has no test clip in it."""
    with (actions / "labels.csv").open(newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    rows = [
        {
            "video_path": str((actions / row["video_id"]).resolve()),
            "label": row["label"],
            "split": "train" if int(row["sequence"]) % 2 else "test",
        }
        for row in listed
    ]
    paths = output / "labels.csv", output / "training.csv"
    for path, kept in zip(paths, (rows, [row for row in rows if row["split"] == "train"]), strict=True):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["video_path", "label", "split"])
            writer.writeheader()
            writer.writerows(kept)
    return paths


def fine_tuning(options: argparse.Namespace, training: Path) -> list[str]:
    """Options of the run on the training clips."""
    given = {
        "data.labels": training,
        "data.batch-size": options.batch_size,
        "data.storage": "memory",
        "data.zoom": None,
        "data.augmentation.flip-probability": 0.5,
        "data.augmentation.brightness": 0.15,
        "data.augmentation.shift-pixels": options.size_pixels // 16,
        "model.clip-spec.num-frames": options.num_frames,
        "model.clip-spec.fps": options.fps,
        "model.clip-spec.size-pixels": options.size_pixels,
        "model.dropout": 0.2,
        "optim.name": "adamw",
        "optim.lr": options.learning_rate,
        "optim.weight-decay": 1e-3,
        "optim.schedule": "cosine",
        "optim.warmup-steps": options.epochs // 5,
        "trainer.num-epochs": options.epochs,
        "seed": options.seed,
        "workers": options.workers,
    }
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def steps(number: int | None) -> list[str]:
    """The option for a number of steps."""
    return [] if number is None else ["--trainer.num-steps", str(number)]


def run(*words: str) -> None:
    """Run `narravid` as a user would."""
    print(f"$ narravid {shlex.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "narravid", *words], env=os.environ, check=False)
    if done.returncode != 0:
        raise SystemExit(done.returncode)


def table(result: Mapping[str, Any]) -> str:
    """A Markdown table: the trained network first, then what it has to beat."""
    lines = [
        "| features | top-1 % | 95 % interval | behind the trained network by (95 % interval) |",
        "| --- | ---: | ---: | ---: |",
        f"| {numbers('S3D, trained', result['measures'][0])} | |",
    ]
    for name, lead in result["card"]["lead_over_baselines"].items():
        low, high = 100 * lead["low"], 100 * lead["high"]
        difference = f"{100 * lead['top1_difference']:.1f} ({low:.1f} to {high:.1f})"
        lines.append(f"| {numbers(name, result['further'][name][0])} | {difference} |")
    chance = 100 * result["measures"][0]["chance"]
    lines.append(f"| chance | {chance:.1f} | | |")
    return "\n".join(lines)


def numbers(name: str, measure: Mapping[str, float]) -> str:
    """The first three columns."""
    low, high = 100 * measure["low"], 100 * measure["high"]
    return f"{name} | {100 * measure['value']:.1f} | {low:.1f} to {high:.1f}"


if __name__ == "__main__":
    main()
