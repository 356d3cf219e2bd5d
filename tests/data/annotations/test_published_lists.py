"""The published files themselves, with figures counted by other means (pandas, wc), and the small samples."""

from collections import Counter

import pytest

from annotation_samples import SAMPLES
from narravid.data.annotations.action_splits import ActionVideo, read_hmdb51_splits, read_ucf101_splits
from narravid.data.annotations.cpd_lists import CpdVideo, read_cpd_list
from narravid.data.annotations.crosstask import (
    CrossTaskClip,
    CrossTaskStep,
    CrossTaskTask,
    read_crosstask_clips,
    read_crosstask_release,
    read_crosstask_tasks,
)
from narravid.data.annotations.htm_align import AlignedSentence, HtmAlignVideo
from narravid.data.annotations.kinetics import KineticsClip
from narravid.data.annotations.lsmdc import LsmdcSentence
from narravid.data.annotations.msrvtt import MsrvttPair, MsrvttVideo, read_msrvtt_pairs
from narravid.data.annotations.youcook2 import (
    CaptionedVideo,
    VideoDuration,
    YouCook2Clip,
    YouCook2Video,
    read_captioned_videos,
    read_video_durations,
    read_youcook2,
    read_youcook2_clips,
)
from narravid.errors import AnnotationError
from narravid.text.captions import Caption
from narravid.types import Span

STEPS_OF_MEASURED_TASKS = 133


@pytest.fixture
def annotations(shared_data):
    return shared_data / "annotations"


def parts(videos):
    return [Counter(video.splits[split] for video in videos) for split in range(3)]


# ---------------------------------------------------------------- the published files


@pytest.mark.shared
def test_ucf101(annotations):
    videos = read_ucf101_splits(annotations / "ucf101_splits.csv")
    assert len(videos) == 13_320
    assert len({video.label for video in videos}) == 101
    assert parts(videos) == [
        {"train": 9537, "test": 3783},
        {"train": 9586, "test": 3734},
        {"train": 9624, "test": 3696},
    ]
    assert videos[0] == ActionVideo(
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.mp4", "ApplyEyeMakeup", ("train", "test", "train")
    )
    assert videos[0].places == ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01", "v_ApplyEyeMakeup_g08_c01")


@pytest.mark.shared
def test_hmdb51(annotations):
    videos = read_hmdb51_splits(annotations / "hmdb51_splits.csv")
    assert len(videos) == 6766
    assert parts(videos) == [{"train": 3570, "test": 1530, "unused": 1666}] * 3
    labels = {video.label for video in videos}
    assert len(labels) == 51
    assert "brush_hair" in labels
    assert not any(label.endswith("_test") for label in labels)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("table", "read", "lists", "num_videos"),
    [
        ("ucf101_splits.csv", read_ucf101_splits, "cpd_ucf101_01.json", 13_320),
        ("hmdb51_splits.csv", read_hmdb51_splits, "cpd_hmdb51_1.json", 5100),
    ],
)
def test_cpds_lists_say_the_same_as_the_tables_of_the_first_split(
    annotations, table, read, lists, num_videos
):
    listed = read_cpd_list(annotations / lists)
    part = {"train": "train", "validation": "test"}
    in_list = {video.name: (video.label, part[video.subset]) for video in listed.videos}
    in_table = {video.places[-1]: (video.label, video.splits[0]) for video in read(annotations / table)}
    assert len(listed.videos) == num_videos
    assert in_list == {name: said for name, said in in_table.items() if said[1] != "unused"}
    assert listed.labels == tuple(sorted({label for label, _ in in_list.values()}, key=str.casefold))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["msrvtt_1ka_test.csv", "msrvtt/MSRVTT_JSFUSION_test.csv"])
def test_msrvtt_1ka(annotations, name):
    pairs = read_msrvtt_pairs(annotations / name)
    assert len(pairs) == len({pair.video_id for pair in pairs}) == 1000
    assert pairs[0] == MsrvttPair(
        "ret0", "msr9770", "video9770", "a person is connecting something to system"
    )


@pytest.mark.shared
def test_youcook2_is_the_same_in_all_its_forms(annotations):
    clips = read_youcook2_clips(annotations / "youcook2_validation.csv")
    assert len(clips) == 3350
    assert len({clip.video_id for clip in clips}) == 436
    assert len({clip.recipe_type for clip in clips}) == 89
    assert clips[0] == YouCook2Clip("xHr8X2Wpmno", "226", Span(47, 60), "pick the ends off the verdalago")
    assert clips[0].places[0] == "validation/226/xHr8X2Wpmno"

    videos = read_youcook2(annotations / "youcook2" / "youcookii_annotations_trainval.json")
    assert Counter(video.subset for video in videos) == {"train": 1333, "validation": 457}
    captions = Counter({part: 0 for part in ("train", "validation")})
    for video in videos:
        captions[video.subset] += len(video.captions)
    assert captions == {"train": 10_337, "validation": 3492}

    official = {video.video_id: video for video in videos}
    for clip in clips:
        assert Caption(clip.text, clip.span) in official[clip.video_id].captions
        assert official[clip.video_id].places == clip.places

    captioned = read_captioned_videos(annotations / "youcook2" / "captioning_val.json")
    assert len(captioned) == 457
    for video in captioned:
        assert video.captions == official[video.video_id].captions
        assert video.duration_seconds == official[video.video_id].duration_seconds

    durations = read_video_durations(annotations / "youcook2" / "captioning_video_feat_duration.csv")
    assert len(durations) == 2000
    assert {video.video_id for video in videos} <= {entry.video_id for entry in durations}


@pytest.mark.shared
def test_crosstask_table_and_release_agree(annotations):
    clips = read_crosstask_clips(annotations / "crosstask_steps.csv")
    assert (len(clips), len({clip.video_id for clip in clips})) == (2640, 331)
    assert clips[0] == CrossTaskClip("rzxVluau83Q", "105222", Span(53.72, 56.12), "add ham")
    assert clips[0].places[0] == "videos/105222/rzxVluau83Q"

    release = read_crosstask_release(annotations / "crosstask_release")
    assert (len(release.primary), len(release.related)) == (18, 65)
    assert sum(len(task.steps) for task in release.primary) == STEPS_OF_MEASURED_TASKS
    assert (len(release.videos), len(release.validation)) == (4700, 360)
    assert (len(release.steps), sum(map(len, release.steps.values()))) == (624, 4299)
    assert {clip.task_id for clip in clips} == {task.task_id for task in release.primary}
    steps = {task.task_id: task.steps for task in release.primary}
    for clip in clips:
        annotated = release.steps.get((clip.task_id, clip.video_id), ())
        if annotated:
            assert clip.text in steps[clip.task_id]
            said = {(steps[clip.task_id][step.number - 1], step.span) for step in annotated}
            assert (clip.text, clip.span) in said


# ---------------------------------------------------------------- the samples, value by value


def read(name, folder):
    sample = SAMPLES[name]
    return sample.read(sample.write(folder))


def test_small_split_tables(tmp_path):
    assert read("UCF101", tmp_path)[1] == ActionVideo(
        "YoYo/v_YoYo_g01_c01.avi", "YoYo", ("test", "unused", "train")
    )
    clap = read("HMDB51", tmp_path)[1]
    assert (clap.label, clap.splits) == ("clap", ("unused", "test", "train"))
    assert clap.places == ("clap/#20_Rhythm_clap_u_nm_np1_fr_goo_0", "#20_Rhythm_clap_u_nm_np1_fr_goo_0")


def test_small_cpd_list(tmp_path):
    listed = read("CPD", tmp_path)
    assert listed.labels == ("smile", "run")
    assert listed.videos == (
        CpdVideo("a_smile_0", "smile", "train"),
        CpdVideo("b_run_1", "run", "validation"),
    )
    assert listed.videos[0].places == ("smile/a_smile_0", "a_smile_0")


def test_small_kinetics(tmp_path):
    clips = read("Kinetics", tmp_path)
    assert clips == (
        KineticsClip("---QUuC4vJs", "testifying", Span(84, 94), "validation"),
        KineticsClip("--3ouPhoy2A", "sword fighting, slow", Span(20, 30), "train"),
    )
    assert clips[0].places == ("testifying/---QUuC4vJs_000084_000094", "---QUuC4vJs_000084_000094")
    assert clips[1].places[:2] == (
        "sword fighting, slow/--3ouPhoy2A_000020_000030",
        "sword_fighting,_slow/--3ouPhoy2A_000020_000030",
    )


def test_kinetics_whose_labels_are_kept_back(tmp_path):
    sample = SAMPLES["Kinetics"]
    path = tmp_path / "test.csv"
    path.write_text("youtube_id,time_start,time_end,split\n--3ouPhoy2A,20,30,test\n")
    (clip,) = sample.read(path)
    assert (clip.label, clip.subset) == (None, "test")
    assert clip.places == ("--3ouPhoy2A_000020_000030",)


def test_small_msrvtt(tmp_path):
    first, second = read("MSR-VTT", tmp_path)
    assert first == MsrvttVideo(
        video_id="video0",
        subset="train",
        span=Span(137.72, 149.44),
        url="https://www.youtube.com/watch?v=9lZi22qLlEo",
        category=9,
        captions=("a man drives", "a car is shown"),
    )
    assert (second.subset, second.category, second.captions) == ("validation", None, ("someone cooks",))
    assert read("MSR-VTT pairs", tmp_path)[1].sentence == "a girl, who does gymnastics"
    assert "TrainValVideo/video0" in first.places
    assert read("MSR-VTT videos", tmp_path) == ("video0", "video1")


def test_small_youcook2(tmp_path):
    assert read("YouCook2", tmp_path) == (
        YouCook2Video(
            video_id="GLd3aX16zBg",
            subset="train",
            recipe_type="113",
            duration_seconds=241.62,
            url="https://www.youtube.com/watch?v=GLd3aX16zBg",
            captions=(
                Caption("spread margarine", Span(90, 102)),
                Caption("place a slice of cheese on the bread", Span(114, 127)),
            ),
        ),
    )
    assert read("captioned videos", tmp_path) == (
        CaptionedVideo("v_QOlSCBRmfWY", 82.7, (Caption("a", Span(0.8, 19.8)), Caption("b", Span(17, 60)))),
    )
    assert read("durations", tmp_path)[0] == VideoDuration("-xbTvALWCIg", 455.02, 10908)


def test_small_lsmdc_keeps_its_quotation_marks(tmp_path):
    (sentence,) = read("LSMDC", tmp_path)
    assert sentence == LsmdcSentence(
        clip_id="1004_Juno_00.00.32.775-00.00.37.566",
        aligned=Span(32.775, 37.566),
        extracted=Span(32.7, 3637.6),
        text='"No, and 5" more, says SOMEONE.',
    )
    assert sentence.places[0] == "1004_Juno/1004_Juno_00.00.32.775-00.00.37.566"


def test_small_crosstask(tmp_path):
    assert read("CrossTask tasks", tmp_path)[0] == CrossTaskTask(
        "23521", "Make Jello Shots", "http://x/Make-Jello-Shots", ("pour water", "pour juice")
    )
    assert read("CrossTask steps", tmp_path)[0] == CrossTaskStep(5, Span(2.1, 5.7))
    assert read("CrossTask videos", tmp_path)[0].places[0] == "videos/41950/UYTGe1ixPcc"


def test_small_htm_align(tmp_path):
    assert read("HTM-Align", tmp_path) == (
        HtmAlignVideo(
            "-3CEg4y7mQM",
            (
                AlignedSentence(False, Span(2.0, 4.5), "welcome back"),
                AlignedSentence(True, Span(10.739, 17.535), "add oil and garlic"),
            ),
        ),
    )


# ---------------------------------------------------------------- the folder of CrossTask's release


@pytest.fixture
def release(tmp_path):
    task = "23521\nJello\nhttp://x\n2\npour water,pour juice\n\n"
    (tmp_path / "tasks_primary.txt").write_text(task)
    (tmp_path / "tasks_related.txt").write_text(task.replace("23521", "5"))
    (tmp_path / "videos.csv").write_text("23521,ab_c,https://x\n5,d,https://x\n")
    (tmp_path / "videos_val.csv").write_text("23521,ab_c,https://x\n")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "23521_ab_c.csv").write_text("2,0.5,1\n1,1,3\n")
    return tmp_path


def test_a_small_release(release):
    read_back = read_crosstask_release(release)
    assert read_back.steps == {
        ("23521", "ab_c"): (CrossTaskStep(2, Span(0.5, 1)), CrossTaskStep(1, Span(1, 3)))
    }
    assert [video.video_id for video in read_back.videos] == ["ab_c", "d"]
    assert [video.video_id for video in read_back.validation] == ["ab_c"]


@pytest.mark.parametrize(
    ("name", "content", "line", "field", "reason"),
    [
        ("annotations/23521_ab_c.csv", "3,0.5,1\n", 1, "step", "must be a whole number from 1 to 2, got '3'"),
        (
            "annotations/5_d.csv",
            "1,0.5,1\n",
            None,
            None,
            "must be TASK_VIDEO.csv with a task of tasks_primary",
        ),
        ("annotations/23521.csv", "1,0.5,1\n", None, None, "must be TASK_VIDEO.csv"),
        ("videos.csv", "23521,a,u\n7,d,u\n", 2, "task_id", "must be one of the 2 tasks, got '7'"),
        ("videos_val.csv", "23521,a\n", 1, None, "has 2 fields instead of 3"),
        ("tasks_related.txt", "5\n", 1, None, "a task has 5 lines"),
    ],
)
def test_faults_of_a_release_name_their_file(release, name, content, line, field, reason):
    (release / name).write_text(content)
    with pytest.raises(AnnotationError, match=reason) as caught:
        read_crosstask_release(release)
    assert (caught.value.path, caught.value.line, caught.value.field) == (str(release / name), line, field)


@pytest.mark.parametrize("name", ["tasks_primary.txt", "videos_val.csv"])
def test_a_release_without_one_of_its_files_is_refused(release, name):
    (release / name).unlink()
    with pytest.raises(AnnotationError, match=f"{name}: cannot be opened"):
        read_crosstask_release(release)


def test_a_release_without_annotations_is_refused(release):
    (release / "annotations" / "23521_ab_c.csv").unlink()
    (release / "annotations").rmdir()
    with pytest.raises(AnnotationError, match="annotations: is no folder"):
        read_crosstask_release(release)


def test_blank_lines_inside_a_list_of_tasks_do_not_matter(tmp_path):
    path = tmp_path / "tasks.txt"
    path.write_bytes(b"\n\n5\r\nT\r\nu\r\n\r\n1\r\ns\r\n")
    assert read_crosstask_tasks(path) == (CrossTaskTask("5", "T", "u", ("s",)),)


def test_only_line_ends_end_a_line(tmp_path):
    path = tmp_path / "tasks.txt"
    path.write_bytes("5\r\nT\u2028t\r\nu\r\n1\r\ns\x85s\r\n".encode())
    assert read_crosstask_tasks(path) == (CrossTaskTask("5", "T\u2028t", "u", ("s\x85s",)),)
