"""HTM-Align on feature files: aligners and dual encoders, rates, broken files, the same files elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from htm_align_archive import (
    SENTENCES,
    SHORT,
    TRUTH,
    PointingAligner,
    session_of,
    values_of,
    write_archive,
    write_feature_files,
)
from narravid.bad_items import TooManyBadItemsError
from narravid.data.feature_storage import write_features
from narravid.errors import ConfigError
from narravid.evaluation.benchmarks.htm_align import HtmAlign
from narravid.evaluation.result_comparison import compare_results
from narravid.types import FeatureSpec


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return write_archive(tmp_path_factory.mktemp("htm_align"))


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> Path:
    return write_feature_files(tmp_path_factory.mktemp("features"))


def test_an_aligner_takes_feature_files(features, archive):
    places = {text: span.start_seconds for belief in TRUTH.values() for text, span in belief}
    benchmark = HtmAlign(features=(features,), videos=archive, **SHORT)
    result = benchmark.run(session_of(PointingAligner(places)))
    assert set(values_of(result).values()) == {1.0}
    assert result.card["aligner_computes_in"] == "float32 by torch"
    assert (result.card["device"], result.card["dtype"]) == ("cpu", "float32")
    assert result.best[0].shown[0].path == str(archive / "cooking.mp4")  # examples can be shown
    reasons = {Path(item.path).name: item.reason for item in result.coverage.missing}
    assert reasons["absent.npy"] == "there is no such feature file"
    assert "not a whole .npy array" in reasons["broken.mp4.npy"]
    places["cut tomato"] = 12.0  # its span ends at 11 s
    result = HtmAlign(features=(features,), view="global").run(session_of(PointingAligner(places)))
    assert values_of(result)["R@1 global"] == 0.75


@pytest.mark.parametrize("choice", [{"dtype": "bfloat16"}, {"backend": "openvino"}])
def test_arithmetic_that_features_do_not_have_is_refused(features, choice):
    [(key, value)] = choice.items()
    for model, folders in ((PointingAligner({}), (features,)), (SecondsByName(), (features, features))):
        with pytest.raises(ConfigError, match=f"leave out --{key} {value}"):
            HtmAlign(features=folders).run(session_of(model, **choice))


def test_the_same_features_elsewhere_are_measured_the_same_way(features, tmp_path):
    shutil.copytree(features, tmp_path / "copy")
    session = session_of(PointingAligner({}))
    results = {
        str(folder): HtmAlign(features=(folder,), view="global").run(session)
        for folder in (features, tmp_path / "copy")
    }
    assert compare_results(results).protocol == ()


def test_features_at_another_rate_than_an_aligner_takes_are_refused(tmp_path):
    (tmp_path / "htm_align.json").write_text(json.dumps(SENTENCES))
    np.save(tmp_path / "drilling.npy", np.arange(20, dtype=np.float16)[:, None])
    stated = np.arange(0, 24, 0.5, dtype=np.float16)[:, None]
    write_features(tmp_path / "cooking.npy", stated, {"features_per_second": 2.0})
    places = {text: span.start_seconds for belief in TRUTH.values() for text, span in belief}
    benchmark = HtmAlign(features=(tmp_path,), view="global")
    result = benchmark.run(session_of(PointingAligner(places)))
    assert values_of(result)["R@1 global"] == 1.0
    assert result.coverage.num_measured == 1
    reasons = {Path(item.path).name: item.reason for item in result.coverage.missing}
    assert "holds 2 features per second, and an aligner takes one" in reasons["cooking"]
    assert result.card["features_per_second"] == [[1.0]]


def test_a_name_that_no_file_can_have_costs_one_video(features, tmp_path):
    annotations = tmp_path / "htm_align.json"
    annotations.write_text(json.dumps({"../x": SENTENCES["broken"], "drilling": SENTENCES["drilling"]}))
    benchmark = HtmAlign(features=(features,), annotations=annotations, view="global")
    result = benchmark.run(session_of(PointingAligner({"drill a pan": 2.0}), max_bad_share=0.0))
    [missing] = result.coverage.missing
    assert missing.path == "../x"
    assert "lies outside the folder of the features" in missing.reason
    assert values_of(result)["R@1 global"] == 1.0


def test_too_many_broken_feature_files_stop_it(features):
    session = session_of(PointingAligner({}), max_bad_share=0.3)
    with pytest.raises(TooManyBadItemsError, match="more than 30%"):
        HtmAlign(features=(features,)).run(session)


class SecondsByName:
    """Features are one-hot seconds; sentence "at N" is second N."""

    embed_dim = 30
    similarity = "dot"
    feature_spec = FeatureSpec(("resnet152-imagenet", "resnext101-kinetics"), (30, 2))
    weights_hash = "named"
    device = torch.device("cpu")
    config = None

    def encode_features(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :30]

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.tensor([int(s.split()[1]) for s in sentences]), 30).float()


def test_a_dual_encoder_on_features_sees_each_second_alone(tmp_path):
    sentences = [[1, float(second), float(second), f"at {second}"] for second in (0, 7, 19)]
    annotations = tmp_path / "htm_align.json"
    annotations.write_text(json.dumps({"v": [*sentences, [0, 5.0, 6.0, "at 25"]]}))
    for name, array in {"2d": np.eye(20, 30), "3d": np.ones((30, 2))}.items():
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "v.npy", array.astype(np.float16))
    benchmark = HtmAlign(features=(tmp_path / "2d", tmp_path / "3d"), **SHORT)
    result = benchmark.run(session_of(SecondsByName()))
    assert set(values_of(result).values()) == {1.0}
    assert result.card["second"].startswith("the largest value")
    assert result.card["features_per_second"] == [[1.0, 1.5]]
    with pytest.raises(ConfigError, match="--features needs 2 folders"):
        HtmAlign(features=(tmp_path / "2d",)).run(session_of(SecondsByName()))
