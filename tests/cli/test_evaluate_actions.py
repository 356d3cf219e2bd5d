"""Action recognition through the command line, with small networks, from archive to written result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coloured_actions import COLOURS, write_plain_video
from narravid.cli.main import main
from narravid.models.hub import save_model
from narravid.models.s3d import S3DConfig
from narravid.models.s3d_classifier import S3DClassifier, S3DClassifierConfig
from narravid.types import ClipSpec
from tiny_corpus import save_tiny_s3d


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Two videos of each colour to learn from and one to judge by, as UCF101 and as a list of one's own."""
    folder = tmp_path_factory.mktemp("archive")
    table, labels = ["video_id,label,split1,split2,split3"], ["video_path,label,split"]
    for number, colour in enumerate(COLOURS, 1):
        for group in (1, 2, 3):
            name = f"Paint{colour.title()}/v_Paint{colour.title()}_g{group:02}_c01"
            write_plain_video(folder / "videos" / f"{name}.avi", colour, mark=group)
            table.append(f"{name}.mp4,{number},{'2' if group == 3 else '1'},1,1")
            labels.append(f"videos/{name}.avi,{colour},{'test' if group == 3 else 'train'}")
    (folder / "ucf.csv").write_text("\n".join(table) + "\n")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    config = S3DClassifierConfig(
        3,
        S3DConfig(width_multiplier=0.125, num_inception_blocks=1),
        ClipSpec(num_frames=4, fps=4.0, size_pixels=32),
    )
    save_model(S3DClassifier(config).eval(), folder / "classifier")
    return {"dual": save_tiny_s3d(folder / "dual"), "classifier": folder / "classifier"}


CASES = {
    "ucf101": ("dual", ["--splits", "1", "--clips", "model", "--num-windows", "1"]),
    "ucf101-finetuned": ("classifier", ["--temporal-crops", "2"]),
    "ucf101-zeroshot": ("dual", ["--splits", "1", "--num-windows", "2"]),
    "probe": ("dual", ["--num-frames", "4", "--num-windows", "2", "--baselines", "--mirror"]),
    "classify": ("classifier", ["--spatial-crops", "1"]),
    "zeroshot": ("dual", ["--similarity", "dot"]),
}


QUICK = ("probe", "ucf101-finetuned")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES]
)
def test_from_archive_to_result(name, archive, models, tmp_path, capsys):
    kind, options = CASES[name]
    data = ["--videos", str(archive / "videos")]
    if not name.startswith("ucf101"):
        data = ["--labels", str(archive / "labels.csv")]
    words = ["evaluate", name, "--model", str(models[kind]), *data, *options]
    words += ["--cache", str(tmp_path / "cache"), "--output", str(tmp_path / "out")]
    assert main(words) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["coverage"]["share"] == 1.0
    assert 0 <= result["measures"][0]["value"] <= 1
    assert result["measures"][0]["num_units"] == 3
    assert result["card"]["benchmark"] == name
    assert {"confusions.png", "table.md", "examples.html"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    printed = capsys.readouterr().out
    assert "top-1" in printed
    assert ("pixels only" in printed) == (name == "probe")
    assert ("MIL-NCE S3D" in printed) == (name == "ucf101")


def test_what_cannot_be_is_one_line(archive, models, tmp_path, capsys):
    data = ["--videos", str(archive / "videos"), "--cache", str(tmp_path)]
    assert main(["evaluate", "ucf101-finetuned", "--model", str(models["dual"]), *data]) != 0
    assert "this needs a classifier" in capsys.readouterr().err
    words = ["evaluate", "ucf101-zeroshot", "--model", str(models["classifier"]), "--splits", "1"]
    assert main([*words, *data]) != 0
    assert "this needs a pixel dual encoder" in capsys.readouterr().err
    assert main(["evaluate", "hmdb51", "--model", str(models["dual"]), *data]) != 0
    assert "there is no hmdb51.csv" in capsys.readouterr().err
