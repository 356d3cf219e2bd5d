"""Exported folders: run by other programs, the numbers of the model."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference_doubles import LinearDualEncoder
from models.forms import FORMS, clips_for
from models.small_aligners import small_aligner, small_inputs
from models.small_cpd import small_cpd
from models.small_models import shake_statistics, small_config, small_model
from narravid.errors import CheckpointError, NarravidError
from narravid.inference.export import export_model
from narravid.inference.export_checks import Comparison, compare_tower
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.models.s3d import S3DConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.models.tower_files import write_tower
from narravid.models.towers import towers_of, video_tower
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec, FeatureSpec

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TOLERANCE = 1e-4
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "inference.md"


def run(folder: Path, tower: str, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """As a reader of the documentation would."""
    session = ort.InferenceSession(folder / f"{tower}.onnx")
    names = [output.name for output in session.get_outputs()]
    given = session.run(names, {name: tensor.numpy() for name, tensor in inputs.items()})
    return {name: torch.from_numpy(array) for name, array in zip(names, given, strict=True)}


def said_of(folder: Path) -> dict:
    return json.loads((folder / "export.json").read_text())


def close(given: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((given - expected).abs().max() <= TOLERANCE)


def short_s3d(stem: str) -> S3DDualEncoder:
    """With a single block: the time that an export takes goes with the number of layers."""
    config = small_config(stem=stem)
    return small_model(replace(config, video=replace(config.video, num_inception_blocks=1)))


def test_s3d_and_its_sentences_under_onnxruntime(tmp_path: Path, capsys):
    model = short_s3d("space_to_depth")
    export_model(model, tmp_path / "export")
    clips = clips_for("S3D, space to depth", 3)
    given = run(tmp_path / "export", "video", clips=clips)
    assert close(given["embedding"], model.encode_video(clips))
    assert close(given["feature"], model.video_features(clips))
    tokens = model.tokenizer(["add oil", "stir", "cut the tomato in the pan", ""])
    assert close(run(tmp_path / "export", "text", tokens=tokens)["embedding"], model.encode_tokens(tokens))

    # What the documentation shows, word by word.
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    (shown,) = [block for block in blocks if "onnxruntime" in block]
    exec(shown.replace("FOLDER", str(tmp_path / "export")), {})
    black = model.encode_video(torch.zeros(1, 3, 4, 16, 16, dtype=torch.uint8))
    expected = (black @ model.encode_text(["cut the tomato"]).T).item()
    assert float(capsys.readouterr().out.strip(" []\n")) == pytest.approx(expected, abs=1e-4)

    said = said_of(tmp_path / "export")
    assert said["weights_hash"] == model.weights_hash
    assert said["similarity"] == "dot"
    assert said["clip_spec"]["num_frames"] == 4
    assert said["assets"] == ["vocabulary.json"]
    assert (tmp_path / "export" / "vocabulary.json").is_file()
    video, text = said["towers"]
    expected = {"name": "clips", "dtype": "uint8", "shape": ["batch", 3, 4, 16, 16], "below": None}
    assert video["inputs"] == [expected]
    assert text["inputs"][0]["shape"] == ["sentences", 5]
    assert video["largest_difference"] <= TOLERANCE
    assert video["num_inputs"] == 3
    assert said["versions"]["torch"] == torch.__version__


def test_s3d_with_the_plain_stem_takes_odd_sizes(tmp_path: Path):
    model = short_s3d("plain")
    tower = video_tower(model, size=(5, 17, 15))
    write_tower(tower, tmp_path, export_format="onnx")
    clips = clips_for("S3D, plain", 3)
    assert close(run(tmp_path, "video", clips=clips)["embedding"], model.encode_video(clips))


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["space_to_depth", "plain"])
def test_full_width_s3d_under_onnxruntime(tmp_path: Path, stem: str):
    torch.manual_seed(1)
    config = S3DDualEncoderConfig(
        video=S3DConfig(stem=stem),
        text=SentenceTowerConfig(num_embeddings=6),
        clip_spec=ClipSpec(num_frames=8, fps=5.0, size_pixels=64),
    )
    model = S3DDualEncoder(config, Vocabulary(tuple("abcde"))).eval()
    shake_statistics(model)
    export_model(model, tmp_path / "export")
    clips = torch.randint(0, 256, (2, 3, 8, 64, 64), dtype=torch.uint8)
    assert close(run(tmp_path / "export", "video", clips=clips)["embedding"], model.encode_video(clips))


def test_cpd_under_onnxruntime(tmp_path: Path):
    model = small_cpd()
    export_model(model, tmp_path / "export")
    for tower in said_of(tmp_path / "export")["towers"]:
        assert tower["largest_difference"] <= TOLERANCE * max(1, tower["largest_number"])
    tokens = model.tokenizer(["add oil", "to the pan"])
    assert close(run(tmp_path / "export", "text", tokens=tokens)["embedding"], model.encode_tokens(tokens))
    assert said_of(tmp_path / "export")["assets"] == ["vocab.txt"]


GATED = GatedDualEncoderConfig(
    feature_spec=FeatureSpec(("a", "b"), (6, 5)), word_dim=4, sentence_dim=8, embed_dim=7, max_words=3
)


def test_gated_embedding_under_onnxruntime(tmp_path: Path):
    model = GatedDualEncoder(GATED, Vocabulary(("add", "oil"))).eval()
    model.word_table[1:] = torch.randn(2, 4)
    export_model(model, tmp_path / "export")
    features = torch.randn(4, 11)
    given = run(tmp_path / "export", "features", features=features)["embedding"]
    assert close(given, model.encode_features(features))
    tokens = model.tokenizer(["add oil", "oil"])
    assert close(run(tmp_path / "export", "text", tokens=tokens)["embedding"], model.encode_tokens(tokens))


def test_gated_embedding_without_words_takes_word_vectors(tmp_path: Path):
    model = GatedDualEncoder(GATED).eval()
    export_model(model, tmp_path / "export")
    vectors = torch.randn(2, 3, 4)
    given = run(tmp_path / "export", "text", word_vectors=vectors)["embedding"]
    assert close(given, model.text(vectors))
    assert said_of(tmp_path / "export")["assets"] == []


@pytest.mark.slow
@pytest.mark.parametrize("text_positions", [True, False])
def test_an_aligner_under_onnxruntime(tmp_path: Path, text_positions: bool):
    model = small_aligner(text_positions=text_positions)
    export_model(model, tmp_path / "export")
    features, text = small_inputs(torch.Generator().manual_seed(1), num_seconds=20, num_sentences=7)
    given, expected = (
        run(tmp_path / "export", "align", features=features, text=text),
        model.align(features, text),
    )
    for name in ("dual", "joint", "alignability_dual", "alignability_joint"):
        assert close(given[name], getattr(expected, name))


@pytest.mark.slow
@pytest.mark.parametrize("export_format", ["onnx", "openvino", "torch-export"])
@pytest.mark.parametrize("name", FORMS)
def test_every_kind_in_every_format(tmp_path: Path, name: str, export_format: str):
    pytest.importorskip("openvino")
    exported = export_model(FORMS[name][0](), tmp_path / "export", export_format=export_format)
    assert all(tower.comparison.is_close for tower in exported)
    assert {tower.file for tower in exported} < {path.name for path in (tmp_path / "export").iterdir()}


def test_wrong_numbers_are_found_and_leave_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = GatedDualEncoder(GATED).eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.video.fc.bias[3] += 0.01
    video, _ = towers_of(other)
    path = write_tower(video, tmp_path, export_format="onnx")
    assert not compare_tower(model, video, path, runtime="onnxruntime").is_close
    assert compare_tower(other, video, path, runtime="onnxruntime").is_close
    monkeypatch.setattr("narravid.inference.export.towers_of", lambda _: (video,))
    with pytest.raises(CheckpointError, match="its numbers are not those of the model: they differ by up to"):
        export_model(model, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_a_comparison_with_what_is_no_number_fails():
    assert not Comparison(float("nan"), 1.0, 1).is_close
    assert Comparison(0.9e-4, 0.1, 1).is_close
    assert not Comparison(1.1e-4, 0.1, 1).is_close
    assert Comparison(0.9e-2, 100.0, 1).is_close


def test_nan_of_the_model_is_no_success(tmp_path: Path):
    model = GatedDualEncoder(GATED).eval()
    with torch.no_grad():
        model.video.fc.weight[0] = np.nan
    with pytest.raises(CheckpointError, match="its numbers are not those of the model"):
        export_model(model, tmp_path / "export")


def test_what_is_in_the_way_stays(tmp_path: Path):
    model = GatedDualEncoder(GATED).eval()
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files than those of an export"):
        export_model(model, folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("theirs", ['{"mine": 1}', "no JSON", None])
def test_an_export_with_a_file_of_somebody_stays(tmp_path: Path, theirs):
    model = GatedDualEncoder(GATED).eval()
    folder = tmp_path / "export"
    export_model(model, folder, export_format="torch-export")
    export_model(model, folder, export_format="torch-export")  # nothing was added: it may be replaced
    if theirs is None:
        (folder / "notes.txt").write_text("mine")
    else:
        (folder / "export.json").write_text(theirs)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(ValueError, match="holds other files than those of an export"):
        export_model(model, folder, export_format="torch-export")
    assert sorted(path.name for path in folder.iterdir()) == before


def test_models_without_towers_and_forms_are_refused(tmp_path: Path):
    with pytest.raises(NarravidError, match="a LinearDualEncoder cannot be exported"):
        export_model(LinearDualEncoder(), tmp_path / "export")
    with pytest.raises(ValueError, match="an inference form cannot be exported"):
        export_model(small_model().for_inference(), tmp_path / "export")
    with pytest.raises(ValueError, match="format must be one of onnx, openvino, torch-export, got 'tflite'"):
        export_model(GatedDualEncoder(GATED), tmp_path / "export", export_format="tflite")
    assert not (tmp_path / "export").exists()
