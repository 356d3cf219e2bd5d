"""UCF101 on an archive in its layout: probes, classifiers, names of classes, by models that see colours."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from coloured_actions import COLOURS, ColourConfig, ColourModel, session_of, values, write_plain_video
from narravid.bad_items import TooManyBadItemsError
from narravid.errors import AnnotationError, CheckpointError, ConfigError, NarravidError
from narravid.evaluation.benchmarks.action_classifiers import Ucf101Finetuned
from narravid.evaluation.benchmarks.action_probes import Ucf101
from narravid.evaluation.benchmarks.action_zero_shots import Ucf101ZeroShot
from narravid.evaluation.embedding_cache import EmbeddingCache
from narravid.models.hub import save_model
from narravid.models.s3d import S3DConfig
from narravid.models.s3d_classifier import S3DClassifier, S3DClassifierConfig
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder
from tiny_corpus import make_tiny_s3d

CLASSES = {"PaintRed": "red", "ShowGreen": "green", "WearBlue": "blue"}
NUM_GROUPS = 4
WRONG = ("PaintRed", 4)
"""This video of group 4 shows another colour than its class says."""


def write_archive(folder: Path) -> Path:
    """Twelve videos, a group of each class is the test of split 1 (group 4), of split 2 and of split 3."""
    lines = ["video_id,label,split1,split2,split3"]
    for number, (label, colour) in enumerate(CLASSES.items(), 1):
        for group in range(1, NUM_GROUPS + 1):
            name = f"{label}/v_{label}_g{group:02}_c01"
            shown = "green" if (label, group) == WRONG else colour
            write_plain_video(folder / f"{name}.avi", shown, seconds=0.6 + 0.2 * group)
            splits = [2 if group == NUM_GROUPS + 1 - split else 1 for split in (1, 2, 3)]
            lines.append(f"{name}.mp4,{number},{','.join(map(str, splits))}")
    (folder.parent / "ucf.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return write_archive(tmp_path_factory.mktemp("ucf101") / "videos")


@pytest.fixture(scope="module")
def decoder():
    with WatchedDecoder() as decoder:
        yield decoder


def test_a_model_that_sees_colours_misses_only_the_planted_one(archive, decoder):
    result = Ucf101(videos=archive).run(session_of(ColourModel(), decoder))
    # Split 1 has the planted video in its test: two of three; splits 2 and 3 have it among those to learn
    # from, and a probe of one hyperplane per class is not misled by one of nine.
    assert [values(result.further[f"split {n}"])["top-1"] for n in (1, 2, 3)] == pytest.approx([2 / 3, 1, 1])
    (top1,) = result.measures
    assert (top1.name, top1.value, top1.chance) == ("top-1", pytest.approx(8 / 9), pytest.approx(1 / 3))
    assert top1.low <= 8 / 9 <= top1.high == 1
    assert top1.outcomes.units[0] == "PaintRed/v_PaintRed_g04_c01"  # as the list has it
    assert set(top1.outcomes.groups) == {"split 1", "split 2", "split 3"}
    assert (result.coverage.num_measured, result.coverage.num_expected) == (9, 9)
    assert [example.title for example in result.worst] == ["PaintRed, taken for ShowGreen"]
    assert result.worst[0].shown[0].path.endswith("PaintRed/v_PaintRed_g04_c01.avi")
    assert len(result.best) == 8
    assert all(example.good for example in result.best)


def test_the_card_says_by_what_protocol(archive, decoder):
    card = Ucf101(videos=archive, splits=(2,)).run(session_of(ColourModel(), decoder)).card
    assert card["files"]["annotations"]["path"] == str(archive.parent / "ucf.csv")
    assert (card["windows"], card["frames"], card["fps"]) == (10, 32, "that of each video")
    assert card["classifier"].endswith("C = 100")
    assert card["splits"] == [{"name": "split 2", "train": 9, "test": 3}]
    (fit,) = card["fits"]
    assert (fit["train_videos"], fit["test_videos"], fit["has_converged"]) == (9, 3, True)
    assert not card["mirrored_windows"]


def test_windows_are_at_the_native_rate_and_mirrored_where_asked(archive, decoder):
    model = ColourModel()
    Ucf101(videos=archive, splits=(1,), num_frames=4, num_windows=3, mirror=True).run(
        session_of(model, decoder)
    )
    windows = torch.cat(model.seen)
    assert windows.shape == (2 * 12 * 3, 3, 4, 8, 8)  # 8 to 14 frames: three different windows of each
    # First the three videos to judge by, then those to learn from, of each the mirrored windows behind.
    assert torch.equal(windows[:9].flip(-1), windows[9:18])
    assert torch.equal(windows[18:45].flip(-1), windows[45:])


def test_random_features_are_at_chance(tmp_path, decoder):
    lines = ["video_id,label,split1,split2,split3"]
    for number, (label, colour) in enumerate(CLASSES.items(), 1):
        for group in range(16):
            # Each with pixels of its own, so that no two videos have the same noise.
            write_plain_video(tmp_path / label / f"v_{label}_g{group:02}_c01.mp4", colour, mark=group)
            lines.append(f"{label}/v_{label}_g{group:02}_c01.mp4,{number},{1 + group % 2},0,0")
    (tmp_path / "ucf101_splits.csv").write_text("\n".join(lines) + "\n")
    protocol = Ucf101(videos=tmp_path, splits=(1,), clips="model", num_windows=1)
    (top1,) = protocol.run(session_of(ColourModel(seed=3), decoder)).measures
    assert 0.08 < top1.value < 0.65  # 24 videos: three deviations of 0.096 around a third
    assert top1.low < 1 / 3 < top1.high


def test_missing_and_broken_videos_are_told_and_not_fatal(tmp_path, decoder):
    folder = write_archive(tmp_path / "videos")
    (folder / "ShowGreen/v_ShowGreen_g04_c01.avi").unlink()
    (folder / "WearBlue/v_WearBlue_g01_c01.avi").write_bytes(b"no video at all")
    benchmark = Ucf101(videos=folder, splits=(1,))
    with pytest.raises(TooManyBadItemsError):
        benchmark.run(session_of(ColourModel(), decoder, max_bad_share=0.05))
    result = benchmark.run(session_of(ColourModel(), decoder, max_bad_share=0.5))
    assert result.measures[0].value == pytest.approx(1 / 2)  # the planted one and a blue one are left
    assert (result.coverage.num_measured, result.coverage.num_expected) == (2, 3)
    missing = {Path(item.path).name: item.reason for item in result.coverage.missing}
    assert missing == {"v_ShowGreen_g04_c01": "no such file"}
    (fit,) = result.card["fits"]
    assert (fit["train_videos"], fit["missing_train_videos"]) == (8, 1)
    assert list(fit["first_missing"]) == ["WearBlue/v_WearBlue_g01_c01"]


def test_the_share_of_bad_videos_is_that_of_each_part(tmp_path, decoder):
    """One of three test videos is more than a fifth, however many are learnt from."""
    folder = write_archive(tmp_path / "videos")
    (folder / "WearBlue/v_WearBlue_g04_c01.avi").write_bytes(b"no video at all")
    with pytest.raises(TooManyBadItemsError):
        Ucf101(videos=folder, splits=(1,)).run(session_of(ColourModel(), decoder, max_bad_share=0.2))


def test_an_empty_archive_and_absent_lists(tmp_path, decoder):
    session = session_of(ColourModel(), decoder)
    with pytest.raises(
        AnnotationError, match=r"no ucf\.csv or .*ucf101_splits\.csv in this folder or beside"
    ):
        Ucf101(videos=tmp_path).run(session)
    (tmp_path / "ucf.csv").write_text("video_id,label,split1,split2,split3\nA/v_A_g01_c01.mp4,1,1,2,1\n")
    with pytest.raises(AnnotationError, match=r"ucf\.csv: has no video to judge by in split 1"):
        Ucf101(videos=tmp_path).run(session)
    rows = "".join(f"A/v_A_g0{n}_c01.mp4,1,{n},{n},{n}\nB/v_B_g0{n}_c01.mp4,2,{n},{n},{n}\n" for n in (1, 2))
    (tmp_path / "ucf.csv").write_text(f"video_id,label,split1,split2,split3\n{rows}")
    with pytest.raises(NarravidError, match=r"none of the 2 videos to learn from \(split 1\)"):
        Ucf101(videos=tmp_path).run(session)
    with pytest.raises(NarravidError, match=r"none of the 2 videos to judge by \(split 1\)"):
        Ucf101ZeroShot(videos=tmp_path).run(session)
    with pytest.raises(ValueError, match="splits must be different ones of 1, 2 and 3"):
        Ucf101(videos=tmp_path, splits=(1, 1))


def test_baselines_are_probed_beside_the_network(archive, decoder):
    benchmark = Ucf101(videos=archive, splits=(1,), clips="model", num_windows=2, baselines=True)
    result = benchmark.run(session_of(make_tiny_s3d(), decoder))
    pixels, untrained = result.further["pixels only"], result.further["untrained network"]
    assert values(pixels)["top-1"] == pytest.approx(2 / 3)  # colours are easy for pixels
    assert 0 <= untrained[0].low <= untrained[0].high <= 1
    lead = result.card["lead_over_baselines"]["pixels only"]
    assert lead["top1_difference"] == pytest.approx(result.measures[0].value - 2 / 3)
    assert lead["num_videos"] == 3
    with pytest.raises(CheckpointError, match="no untrained network like it"):
        benchmark.run(session_of(ColourModel(), decoder))


class NeverDecoding(WatchedDecoder):
    """Fails where anything is decoded."""

    def probe(self, path):
        raise AssertionError(path)

    def clips(self, path, starts_seconds, spec, **options):
        raise AssertionError(path)


class FourFrameModel(ColourModel):
    """Takes clips of four frames and no others."""

    def video_features(self, clips):
        if clips.shape[2] != 4:
            raise ValueError(f"clips must have four frames, got {clips.shape[2]}")
        return super().video_features(clips)


def test_a_model_of_so_many_frames_is_told_how_to_be_probed(archive, decoder):
    session = session_of(FourFrameModel(), decoder)
    with pytest.raises(ConfigError, match=r"planted takes no windows of 32 frames .*four.*--clips model"):
        Ucf101(videos=archive, splits=(1,)).run(session)
    result = Ucf101(videos=archive, splits=(1,), clips="model").run(session)
    assert result.measures[0].value == pytest.approx(2 / 3)


class LargeModel(ColourModel):
    """Too large for its device."""

    def video_features(self, clips):
        raise torch.OutOfMemoryError("no memory left")


def test_a_device_without_memory_is_not_taken_for_a_model_of_so_many_frames(archive, decoder):
    with pytest.raises(torch.OutOfMemoryError):
        Ucf101(videos=archive, splits=(1,)).run(session_of(LargeModel(), decoder))


def test_a_second_run_decodes_nothing(archive, tmp_path):
    benchmark = Ucf101(videos=archive, splits=(1,))
    with EmbeddingCache(tmp_path / "cache") as cache:
        with WatchedDecoder() as decoder:
            first = benchmark.run(session_of(ColourModel(), decoder, cache=cache))
        model = ColourModel()
        with NeverDecoding() as decoder:
            again = benchmark.run(session_of(model, decoder, cache=cache))
    assert not any(clips.any() for clips in model.seen)  # but for a black window, to see what it takes
    assert values(again.measures) == values(first.measures)


def test_too_much_for_liblinear_is_told_before_anything_is_decoded(archive):
    benchmark = Ucf101(videos=archive, splits=(1,), num_windows=50_000_000)
    with NeverDecoding() as decoder, pytest.raises(NarravidError, match="--solver lbfgs"):
        benchmark.run(session_of(ColourModel(), decoder))


def test_parts_that_cannot_be_judged_are_told_before_anything_is_decoded(archive, tmp_path):
    header, *rows = (archive.parent / "ucf.csv").read_text().splitlines()
    table = tmp_path / "ucf.csv"
    with NeverDecoding() as decoder:
        session = session_of(ColourModel(), decoder)
        no_test = [row.rsplit(",", 1)[0] + ",1" for row in rows]
        table.write_text("\n".join([header, *no_test]))
        for benchmark in (Ucf101, Ucf101ZeroShot):
            with pytest.raises(AnnotationError, match=r"ucf\.csv: has no video to judge by in split 3"):
                benchmark(videos=archive, annotations=table).run(session)
        with pytest.raises(AnnotationError, match="has no video to judge by in split 3"):
            Ucf101Finetuned(videos=archive, annotations=table, split=3).run(session)
        one_class = [row for row in rows if row.startswith("PaintRed") or row.endswith("2")]
        table.write_text("\n".join([header, *one_class]))
        with pytest.raises(AnnotationError, match="has training videos of 1 class in split 3"):
            Ucf101(videos=archive, annotations=table, splits=(3,)).run(session)


class NamedModel(ColourModel):
    """A classifier that knows which class each of its scores is."""

    def __init__(self, names, classes):
        super().__init__(classes=classes)
        self.config = NamedConfig(len(classes), class_names=tuple(names))


@dataclasses.dataclass(frozen=True)
class NamedConfig(ColourConfig):
    """With names."""

    class_names: tuple[str, ...] = ()


def test_classes_are_found_by_their_names(archive, decoder):
    model = NamedModel(["WearBlue", "PaintRed", "ShowGreen"], ["blue", "red", "green"])
    benchmark = Ucf101Finetuned(videos=archive, temporal_crops=1, spatial_crops=1)
    result = benchmark.run(session_of(model, decoder))
    assert result.measures[0].value == pytest.approx(2 / 3)
    assert result.card["models"]["split 1"]["classes_matched"] == "by name"
    unnamed = benchmark.run(session_of(ColourModel(), decoder)).card["models"]["split 1"]
    assert unnamed["classes_matched"] == "by number, as the model does not know their names"
    other = NamedModel(["WearBlue", "PaintRed", "Archery"], ["blue", "red", "green"])
    with pytest.raises(CheckpointError, match=r"does not know 1 of the 3 classes of .*ucf\.csv.*'ShowGreen'"):
        benchmark.run(session_of(other, decoder))


def test_published_numbers_say_over_how_many_splits_they_are(archive, decoder):
    notes = [
        {
            row.note
            for row in Ucf101(videos=archive, splits=splits).run(session_of(ColourModel(), decoder)).published
        }
        for splits in ((1, 2, 3), (1,))
    ]
    assert notes == [{""}, {"mean of three splits"}]


def write_list(path: Path) -> Path:
    """Split 1 as CPD's list."""
    entries = {
        f"v_{label}_g{group:02}_c01": {
            "subset": "validation" if group == NUM_GROUPS else "training",
            "annotations": {"label": label},
        }
        for label in CLASSES
        for group in range(1, NUM_GROUPS + 1)
    }
    path.write_text(json.dumps({"labels": list(CLASSES), "database": entries}))
    return path


def test_a_list_of_one_split_is_that_split_alone(archive, decoder, tmp_path):
    source = write_list(tmp_path / "ucf101_01.json")
    session = session_of(ColourModel(), decoder)
    given = {"videos": archive, "annotations": source}
    result = Ucf101(**given, splits=(1,)).run(session)
    assert result.title == "UCF101, the split of ucf101_01.json"
    assert values(result.measures)["top-1"] == pytest.approx(2 / 3)
    with pytest.raises(AnnotationError, match="holds one split; ask for that one by --splits"):
        Ucf101(**given).run(session)
    with pytest.raises(AnnotationError, match="is split 1 by its name, and split 2 is asked for"):
        Ucf101ZeroShot(**given, splits=(2,)).run(session)
    with pytest.raises(AnnotationError, match="holds one split; leave out --models-of-splits-2-and-3"):
        Ucf101Finetuned(**given, models_of_splits_2_and_3=("a", "b")).run(session)
    source.write_text(json.dumps({"labels": list(CLASSES), "database": {}}))
    with pytest.raises(AnnotationError, match=r"ucf101_01\.json.*lists no video"):
        Ucf101(**given, splits=(1,)).run(session)


@pytest.mark.parametrize("spatial_crops", [1, 3])
def test_a_classifier_is_judged_by_the_mean_over_its_crops(archive, decoder, spatial_crops):
    model = ColourModel(classes=["red", "green", "blue"])
    benchmark = Ucf101Finetuned(videos=archive, temporal_crops=2, spatial_crops=spatial_crops)
    result = benchmark.run(session_of(model, decoder))
    assert result.measures[0].value == pytest.approx(2 / 3)
    assert result.coverage.num_expected == 3
    # One second is covered; the videos of group 4 last 1.4 s: two clips each, and 32 x 24 pixels have
    # three squares.
    assert sum(map(len, model.seen)) == 3 * 2 * spatial_crops
    assert result.card["spatial_crops"] == spatial_crops
    wrong = ColourModel(classes=["green", "blue", "red"])
    assert benchmark.run(session_of(wrong, decoder)).measures[0].value == pytest.approx(1 / 3)


def test_the_mean_of_three_classifiers(archive, decoder, tmp_path):
    config = S3DClassifierConfig(
        3,
        S3DConfig(width_multiplier=0.125, num_inception_blocks=1),
        ClipSpec(num_frames=4, fps=4.0, size_pixels=32),
    )
    names = []
    for number in (2, 3):
        with torch.random.fork_rng():
            torch.manual_seed(number)
            model = S3DClassifier(config).eval()
        names.append(str(tmp_path / f"split{number}"))
        save_model(model, Path(names[-1]))
    benchmark = Ucf101Finetuned(
        videos=archive, temporal_crops=1, spatial_crops=1, models_of_splits_2_and_3=tuple(names)
    )
    result = benchmark.run(session_of(ColourModel(), decoder))
    by_split = [values(result.further[f"split {number}"])["top-1"] for number in (1, 2, 3)]
    assert by_split[0] == pytest.approx(2 / 3)
    assert result.measures[0].value == pytest.approx(sum(by_split) / 3)
    cards = list(result.card["models"].values())
    assert [card["model"] for card in cards] == ["planted", *names]
    assert [card["size_pixels"] for card in cards] == [8, 32, 32]  # each as it wants to see clips
    assert "size_pixels" not in result.card


def test_wrong_numbers_of_models_and_classes_are_refused(archive, decoder):
    with pytest.raises(ValueError, match="give the model of split 1 as the model, and two models"):
        Ucf101Finetuned(videos=archive, models_of_splits_2_and_3=("a",))
    two = ColourModel(classes=["red", "green"])
    with pytest.raises(CheckpointError, match="scores 2 classes, and UCF101, split 1 has 3"):
        Ucf101Finetuned(videos=archive).run(session_of(two, decoder))
    with pytest.raises(CheckpointError, match="needs a classifier"):
        Ucf101Finetuned(videos=archive).run(session_of(make_tiny_s3d(), decoder))


def test_names_of_classes_find_their_videos(archive, decoder, tmp_path):
    result = Ucf101ZeroShot(videos=archive).run(session_of(ColourModel(), decoder))
    assert [values(result.further[f"split {n}"])["top-1"] for n in (1, 2, 3)] == pytest.approx([2 / 3, 1, 1])
    assert result.card["class_words"] == ["paint red", "show green", "wear blue"]
    assert result.coverage.num_expected == 9  # nothing is learnt
    (tmp_path / "templates.txt").write_text("the {} of a person\n")
    own = dataclasses.replace(
        Ucf101ZeroShot(videos=archive), templates=tmp_path / "templates.txt", similarity="dot"
    )
    assert own.run(session_of(ColourModel(), decoder)).card["templates"] == ["the {} of a person"]


def test_colours_of_the_archive_are_those_of_the_model():
    assert set(CLASSES.values()) == set(COLOURS)
