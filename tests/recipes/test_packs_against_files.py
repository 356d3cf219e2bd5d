"""What is trained on from a pack is what is trained on from the files that it was made of."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from file_server import Served, serve_files
from narravid.batches import NarratedBatch
from narravid.data.corpus import find_narrated_videos
from narravid.data.loader import load_batches
from narravid.data.loading_report import LoadingReport
from narravid.data.narrated import ClipSampling
from narravid.data.order import BatchOrder
from narravid.data.pack_format import PackSettings
from narravid.data.packing import pack_archive
from narravid.models.dual_encoder import S3DDualEncoder
from narravid.recipes.corpus import describe_corpus, find_corpus
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.narrated import build_dataset, build_model, build_vocabulary
from narravid.recipes.narrated_config import NarratedDataConfig
from narravid.synthetic.camera import SceneConfig
from narravid.synthetic.files import write_world
from narravid.synthetic.world import ToyWorld, preset
from narravid.video.transforms import Augmentation
from small_corpus import small_recipe

SCENE = SceneConfig(width=96, height=72)
NUM_VIDEOS = 10
SETTINGS = {
    "lossless": PackSettings(lossless=True, videos_per_shard=4, max_segment_seconds=8.0),
    "default": PackSettings(videos_per_shard=4),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A toy world of which one video is no video and one is cut off in its middle."""
    world = replace(
        preset("demo"), num_train_videos=NUM_VIDEOS, num_test_repetitions=0, steps_per_video=4, scene=SCENE
    )
    folder = tmp_path_factory.mktemp("world")
    write_world(ToyWorld(world, seed=3), folder)
    first, second, *_ = sorted((folder / "train").glob("*.mp4"))
    first.write_bytes(b"no video" * 500)
    content = second.read_bytes()
    second.write_bytes(content[: len(content) * 6 // 10])
    return folder / "train"


@pytest.fixture(scope="module", params=list(SETTINGS))
def packed(request, archive, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("packs") / request.param
    pack_archive(
        find_narrated_videos(archive), archive, folder, settings=SETTINGS[request.param], max_bad_share=1.0
    )
    return request.param, folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path / "cache"))


def recipe_from(root: str | Path, **sampling) -> MILNCERecipe:
    """One with all that is random in drawing a clip."""
    recipe = small_recipe(root)
    data = NarratedDataConfig(
        root,
        batch_size=4,
        sampling=ClipSampling(clips_per_video=2, num_candidates=3, **sampling),
        crop="random",
        augmentation=Augmentation(flip_probability=0.5, brightness=0.2, shift_pixels=2),
        max_bad_share=1.0,
    )
    clip_spec = replace(recipe.model.clip_spec, num_frames=8, fps=5.0, size_pixels=48)
    return replace(recipe, data=data, model=replace(recipe.model, clip_spec=clip_spec))


def load(recipe: MILNCERecipe, *, num_workers: int = 0) -> tuple[list[NarratedBatch], LoadingReport]:
    """The batches of two epochs, and what was met."""
    videos = find_corpus(recipe.data)
    vocabulary = build_vocabulary(recipe.data, videos, lower_case=True)
    model: S3DDualEncoder = build_model(recipe.model, vocabulary, seed=0)
    order = BatchOrder(len(videos), recipe.data.batch_size, 11)
    report = LoadingReport(max_bad_share=1.0)
    batches: list[NarratedBatch] = []
    with closing(build_dataset(recipe.data, videos, model, num_workers=num_workers)) as dataset:
        for epoch in range(2):
            batches += load_batches(dataset, order, epoch=epoch, num_workers=num_workers, report=report)
    return batches, report


def bad_of(report: LoadingReport, root: Path) -> dict[str, tuple[str, int]]:
    """Reason and count of the replaced videos by their path below the archive."""
    bad = report.bad
    return {
        (Path(path).relative_to(root) if Path(path).is_absolute() else Path(path)).as_posix(): (
            reason,
            bad.times[path],
        )
        for path, reason in bad.reasons.items()
    }


def assert_same_batches(kind: str, ours: list[NarratedBatch], theirs: list[NarratedBatch]) -> None:
    assert len(ours) == len(theirs) == 2 * (NUM_VIDEOS // 4)
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine.video_ids == yours.video_ids
        assert torch.equal(mine.tokens, yours.tokens)
        assert torch.equal(mine.start_seconds, yours.start_seconds)
        if kind == "lossless":
            assert torch.equal(mine.clips, yours.clips)
        else:
            difference = (mine.clips.float() - yours.clips.float()).abs().mean()
            assert 0 < difference <= 4


@pytest.mark.parametrize("whole_seconds", [True, False])
def test_batches_of_a_pack_are_those_of_its_files(archive, packed, whole_seconds):
    kind, folder = packed
    files, files_report = load(recipe_from(archive, whole_seconds=whole_seconds))
    batches, report = load(recipe_from(folder, whole_seconds=whole_seconds))
    assert_same_batches(kind, batches, files)
    assert report.num_padded_clips == files_report.num_padded_clips
    assert bad_of(report, archive) == bad_of(files_report, archive)
    assert bad_of(report, archive), "no bad video was drawn: the test does not see replacements"


def test_captions_that_are_not_widened_are_packed_too(archive, packed):
    kind, folder = packed
    options = {"whole_seconds": False, "min_caption_seconds": 0.0}
    files, _ = load(recipe_from(archive, **options))
    batches, _ = load(recipe_from(folder, **options))
    assert_same_batches(kind, batches, files)


def test_batches_come_over_the_net_and_through_watched_processes(archive, packed):
    kind, folder = packed
    files, _ = load(recipe_from(archive))
    content = {f"/p/{path.name}": Served(path.read_bytes()) for path in folder.iterdir() if path.is_file()}
    with serve_files(content) as server:
        batches, _ = load(recipe_from(f"{server.url}/p"), num_workers=2)
    assert_same_batches(kind, batches, files)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_of_several_processes_resumed_has_its_part_of_the_global_batches(packed, num_workers):
    recipe = recipe_from(packed[1])
    videos = find_corpus(recipe.data)
    model = build_model(recipe.model, build_vocabulary(recipe.data, videos, lower_case=True), seed=0)
    report = LoadingReport(max_bad_share=1.0)
    whole = BatchOrder(len(videos), 4, 11)
    with closing(build_dataset(recipe.data, videos, model)) as dataset:
        _, alone = load_batches(dataset, whole, epoch=1, report=report)
    world_size = 3  # four videos: two, one and one
    parts: list[NarratedBatch] = []
    with closing(build_dataset(recipe.data, videos, model, num_workers=num_workers)) as dataset:
        for rank in range(world_size):
            order = replace(whole, rank=rank, world_size=world_size)
            parts += load_batches(
                dataset, order, epoch=1, start_batch=1, num_workers=num_workers, report=report
            )
    assert [len(part.video_ids) for part in parts] == [4, 2, 2]
    assert sum((part.video_ids for part in parts), ()) == alone.video_ids
    assert torch.equal(torch.cat([part.start_seconds for part in parts]), alone.start_seconds)
    assert torch.equal(torch.cat([part.tokens for part in parts]), alone.tokens)
    assert torch.equal(torch.cat([part.clips for part in parts]), alone.clips)


def test_a_run_from_a_lossless_pack_ends_with_the_weights_of_one_from_files(archive, packed, tmp_path):
    kind, folder = packed
    weights = []
    for root in (archive, folder):
        recipe = replace(recipe_from(root), workers=0)
        run = tmp_path / Path(root).name
        replace(recipe, trainer=replace(recipe.trainer, num_steps=3)).train(run)
        weights.append(load_file(run / "model" / "model.safetensors"))
    same = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert same is (kind == "lossless")


def test_a_run_begun_on_files_goes_on_with_their_pack(archive, packed, tmp_path):
    _, folder = packed
    files, pack = (find_corpus(NarratedDataConfig(root, batch_size=2)) for root in (archive, folder))
    assert describe_corpus(pack) == describe_corpus(files)
