"""Each kind of fault in each format is refused with its file, line and field."""

import json

import pytest

from annotation_samples import SAMPLES
from narravid.errors import AnnotationError

MISSING = object()

# format: (text to replace, its replacement, line, field, reason)
IN_TABLES = [
    ("UCF101", "label,", "labels,", 1, "label", "column missing; the header must hold video_id,label,split1"),
    ("UCF101", "YoYo/v_", "ApplyEyeMakeup/v_", 3, "label", "had the number 1 before, got 101"),
    ("UCF101", "YoYo/v_", "v_", 3, "video_id", "must be CLASS/FILE, got 'v_YoYo"),
    ("UCF101", "101,2,0,1", "0,2,0,1", 3, "label", "must be a whole number >= 1, got '0'"),
    ("UCF101", "101,2,0,1", "101,2,3,1", 3, "split2", "must be a whole number from 0 to 2, got '3'"),
    ("UCF101", "101,2,0,1", "101,2,0", 3, None, "4 instead of 5"),
    (
        "UCF101",
        "YoYo/v_YoYo_g01_c01.avi,101",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.mp4,1",
        3,
        "video_id",
        "2 too",
    ),
    ("HMDB51", "brush_hair_test", "7", 2, "label", "must be the name of a class, got '7'"),
    ("HMDB51", "brush_hair_test", "_test", 2, "label", "must be the name of a class, got '_test'"),
    ("HMDB51", "#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi", " ", 3, "video_id", "is empty"),
    ("Kinetics", "84,94", "84.5,94", 2, "time_start", "must be a whole number >= 0, got '84.5'"),
    ("Kinetics", "84,94", "94,94", 2, "time_end", "must lie after time_start 94, got 94"),
    ("Kinetics", "testifying,", ",", 2, "label", "is empty"),
    ("Kinetics", ",train,", ",both,", 3, "split", "must be one of 'train', 'training', .* got 'both'"),
    ("MSR-VTT pairs", "ret1", "ret0", 3, "key", "ret0 is on line 2 too"),
    ("MSR-VTT pairs", "video9771", "video9770", 3, "video_id", "video9770 is on line 2 too"),
    ("MSR-VTT pairs", "a person is connecting something to system", "", 2, "sentence", "is empty"),
    ("MSR-VTT pairs", '"a girl', "a girl", 3, None, "5 instead of 4"),
    ("MSR-VTT videos", "video1", "video0", 3, "video_id", "video0 is on line 2 too"),
    ("YouCook2 clips", "60,47", "47,47", 2, "end", "must lie after start 47, got 47"),
    ("YouCook2 clips", "67.5", "1:07", 3, "start", "must be seconds >= 0, got '1:07'"),
    ("YouCook2 clips", "combine lemon juice", " ", 3, "text", "is empty"),
    ("durations", "10908", "10908.0", 1, "num_frames", "must be a whole number >= 0, got '10908.0'"),
    ("durations", "46.0", "-46.0", 2, "duration", "must be seconds >= 0, got '-46.0'"),
    ("durations", ",1377", "", 2, None, "has 2 fields instead of 3: video_id, duration, num_frames"),
    ("LSMDC", "1004_Juno_00.00.32.775-00.00.37.566", "video7", 1, "clip_id", "must be FILM_HH"),
    (
        "LSMDC",
        "\t00.00.32.700",
        "\t00.00.62.700",
        1,
        "start_extracted",
        r"must be a time HH\.MM\.SS\.mmm, got",
    ),
    ("LSMDC", "\t00.00.37.566", "\t00.00.30.566", 1, "end_aligned", "must not lie before start_aligned"),
    ("LSMDC", '"No, and 5" more, says SOMEONE.', " ", 1, "sentence", "is empty"),
    (
        "LSMDC",
        '\t"No, and 5" more, says SOMEONE.',
        "",
        1,
        None,
        "has 5 fields instead of 6: clip_id, start_al",
    ),
    ("CrossTask clips", "56.12,53.72", "53.72,56.12", 2, "end", "must not lie before start 56.12, got 53.72"),
    ("CrossTask tasks", "Shots\n2\n", "Shots\n3\n", 4, "number of steps", "must be 2, the number .* got '3'"),
    ("CrossTask tasks", "water,pour juice", "water, ", 5, "steps", "a step is empty"),
    ("CrossTask tasks", "77721\n", "23521\n", 7, "task", "is there twice"),
    ("CrossTask tasks", "77721\n", "x\n", 7, "task", "must be a number, got 'x'"),
    ("CrossTask tasks", "add sugar\n", "", 7, None, "a task has 5 lines .*, the last one 4"),
    ("CrossTask videos", "41950,", ",", 1, "task_id", "is empty"),
    ("CrossTask steps", "1,6.28", "0,6.28", 2, "step", "must be a whole number >= 1, got '0'"),
    ("CrossTask steps", "6.28,13.31", "6.28,3.31", 2, "end", "must not lie before start 6.28"),
]

# format: (keys to a value, its replacement, field, reason)
IN_DOCUMENTS = [
    ("CPD", ["labels"], MISSING, "labels", "is missing"),
    ("CPD", ["labels", 1], "smile", "labels[1]", "the class 'smile' is there twice"),
    ("CPD", ["labels", 1], 3, "labels[1]", "must be a text, got 3"),
    ("CPD", ["database"], [], "database", r"must be an object, got \[\]"),
    ("CPD", ["database", "b_run_1"], None, "database.b_run_1", "is missing"),
    (
        "CPD",
        ["database", "b_run_1", "subset"],
        "all",
        "database.b_run_1.subset",
        "must be one of .*, got 'all'",
    ),
    ("CPD", ["database", "b_run_1", "annotations"], MISSING, "database.b_run_1.annotations", "is missing"),
    (
        "CPD",
        ["database", "b_run_1", "annotations", "label"],
        "jump",
        "database.b_run_1.annotations.label",
        "must be one of the 2 in 'labels', got 'jump'",
    ),
    ("MSR-VTT", ["videos"], {}, "videos", "must be an array, got {}"),
    ("MSR-VTT", ["videos", 1, "video_id"], "video0", "videos[1].video_id", r"video0 is at videos\[0\] too"),
    ("MSR-VTT", ["videos", 1, "start time"], 200, "videos[1].end time", "must not lie before start time 200"),
    ("MSR-VTT", ["videos", 0, "split"], "dev", "videos[0].split", "got 'dev'"),
    ("MSR-VTT", ["videos", 0, "category"], "news", "videos[0].category", "must be a whole number"),
    ("MSR-VTT", ["videos", 0, "url"], MISSING, "videos[0].url", "is missing"),
    ("MSR-VTT", ["sentences", 2, "video_id"], "video9", "sentences[2].video_id", "not among the videos"),
    ("MSR-VTT", ["sentences", 2, "sen_id"], 1, "sentences[2].sen_id", r"1 is at sentences\[0\] too"),
    ("MSR-VTT", ["sentences", 1, "caption"], "", "sentences[1].caption", "is empty"),
    (
        "YouCook2",
        ["database", "GLd3aX16zBg", "duration"],
        -1,
        "database.GLd3aX16zBg.duration",
        "seconds >= 0",
    ),
    (
        "YouCook2",
        ["database", "GLd3aX16zBg", "annotations", 1, "segment"],
        [90, 80],
        "database.GLd3aX16zBg.annotations[1].segment[1]",
        "must not lie before",
    ),
    (
        "YouCook2",
        ["database", "GLd3aX16zBg", "annotations", 1, "segment"],
        [90],
        "database.GLd3aX16zBg.annotations[1].segment",
        r"must be \[start, end\], got 1 values",
    ),
    (
        "YouCook2",
        ["database", "GLd3aX16zBg", "annotations", 1, "id"],
        1,
        "database.GLd3aX16zBg.annotations[1].id",
        "1 is the id of another step too",
    ),
    (
        "captioned videos",
        ["v_QOlSCBRmfWY", "sentences"],
        ["a"],
        "v_QOlSCBRmfWY.sentences",
        "1 sentences for 2",
    ),
    (
        "captioned videos",
        ["v_QOlSCBRmfWY", "timestamps", 0, 1],
        float("nan"),
        "v_QOlSCBRmfWY.timestamps[0][1]",
        "nan",
    ),
    ("HTM-Align", ["-3CEg4y7mQM", 1, 0], 2, "-3CEg4y7mQM[1][0]", "must be a whole number from 0 to 1, got 2"),
    (
        "HTM-Align",
        ["-3CEg4y7mQM", 1, 2],
        3,
        "-3CEg4y7mQM[1][2]",
        "must not lie before the start 10.739, got 3",
    ),
    ("HTM-Align", ["-3CEg4y7mQM", 1], [1, 2, 3], "-3CEg4y7mQM[1]", "start, end, text], got 3 values"),
    ("HTM-Align", ["-3CEg4y7mQM"], {}, "-3CEg4y7mQM", "must be an array, got {}"),
]


@pytest.mark.parametrize("case", IN_TABLES, ids=lambda case: f"{case[0]}-{case[3]}-{case[2]}")
def test_a_fault_in_a_table_names_line_and_field(tmp_path, case):
    name, old, new, line, field, reason = case
    sample = SAMPLES[name]
    assert sample.content.count(old) >= 1
    path = tmp_path / "sample"
    path.write_text(sample.content.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(AnnotationError, match=reason) as caught:
        sample.read(path)
    assert (caught.value.path, caught.value.line, caught.value.field) == (str(path), line, field)


@pytest.mark.parametrize("case", IN_DOCUMENTS, ids=lambda case: f"{case[0]}-{case[3]}")
def test_a_fault_in_a_document_names_the_dotted_path(tmp_path, case):
    name, keys, value, field, reason = case
    document = json.loads(SAMPLES[name].content)
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    path = tmp_path / "sample"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(AnnotationError, match=reason) as caught:
        SAMPLES[name].read(path)
    assert (caught.value.path, caught.value.field) == (str(path), field)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_valid_and_an_absent_file_is_named(tmp_path, name):
    assert SAMPLES[name].read(SAMPLES[name].write(tmp_path))
    with pytest.raises(AnnotationError, match="absent: cannot be opened: No such file"):
        SAMPLES[name].read(tmp_path / "absent")
