"""Transcript files: the real ones of the shared folder, and faults in small ones."""

from __future__ import annotations

import csv
import io
import json
import random

import pytest
import webvtt
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from narravid.errors import AnnotationError
from narravid.text.captions import Caption, CaptionTrack
from narravid.text.transcripts import load_transcript, read_transcript
from narravid.types import Span

# What each file that webvtt-py's own tests call invalid, and each odd valid one, must give:
# (captions, captions without text that were dropped).
READABLE = {
    "captions_with_bom.vtt": (4, 0),
    "comments.vtt": (3, 0),
    "cue_tags.vtt": (3, 0),
    "invalid_timeframe.srt": (5, 0),  # a point for a comma leaves no doubt about the time
    "invalid_timeframe_in_cue_text.vtt": (3, 1),  # a second time line starts a new cue, as the standard says
    "metadata_headers.vtt": (2, 0),
    "metadata_headers_multiline.vtt": (2, 0),
    "missing_caption_text.srt": (4, 1),
    "missing_caption_text.vtt": (4, 1),
    "netflix_chicas_del_cable.vtt": (865, 0),
    "no_captions.vtt": (0, 0),
    "one_caption.srt": (1, 0),
    "one_caption.vtt": (1, 0),
    "sample.srt": (5, 0),
    "sample.vtt": (16, 0),
    "styles.vtt": (1, 0),
    "two_captions.sbv": (2, 0),
    "using_identifiers.vtt": (6, 0),
    "youtube_dl.vtt": (3, 0),  # rolling, unrolled
}
# What must be refused: line of the fault and a piece of the reason.
REFUSED = {
    "empty.vtt": (1, "empty"),
    "invalid.vtt": (1, "starts with WEBVTT"),
    "invalid_format1.srt": (1, "text without a time line: '1'"),
    "invalid_format2.srt": (1, "text without a time line: 'some text'"),
    "invalid_format3.srt": (1, "text without a time line: '1'"),
    "invalid_format4.srt": (1, "text without a time line: 'some text'"),
    "invalid_timeframe.vtt": (6, "malformed time line '00:00:07.000 --> 00:00:1d.890'"),
    "missing_timeframe.srt": (5, "text without a time line: '2'"),
    "missing_timeframe.vtt": (6, "text without a time line: 'Caption text #2'"),
    "invalid_format.sbv": (1, "text without a time line: 'some text'"),
    "invalid_timeframe.sbv": (7, "malformed time line '0:00:13.f89,0:00:15.489'"),
    "missing_caption_text.sbv": (12, "ends before it starts"),
    "missing_timeframe.sbv": (4, "text without a time line: 'Caption text #2'"),
    "sample.sbv": (14, "the cue ends before it starts: '0:00:17.484,0:00:16.543'"),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", READABLE)
def test_readable_files_give_a_sensible_track(shared_data, name):
    transcript = load_transcript(shared_data / "transcripts" / "webvtt" / name)
    assert (len(transcript.track), transcript.num_dropped) == READABLE[name]
    for text in transcript.track.texts:
        assert text == text.strip() != ""
        assert "-->" not in text
        assert "<" not in text


@pytest.mark.shared
@pytest.mark.parametrize("name", REFUSED)
def test_faulty_files_are_refused_with_file_and_line(shared_data, name):
    line, reason = REFUSED[name]
    path = shared_data / "transcripts" / "webvtt" / name
    with pytest.raises(AnnotationError) as caught:
        read_transcript(path)
    assert caught.value.path == str(path)
    assert caught.value.line == line
    assert reason in str(caught.value)


@pytest.mark.shared
def test_every_file_of_the_folder_is_covered(shared_data):
    names = {path.name for path in (shared_data / "transcripts" / "webvtt").iterdir()}
    assert names == READABLE.keys() | REFUSED.keys()


def to_seconds(stamp: str) -> float:
    hours, minutes, seconds, milliseconds = map(int, stamp.replace(".", ":").split(":"))
    return ((hours * 60 + minutes) * 60_000 + seconds * 1000 + milliseconds) / 1000


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["sample.vtt", "using_identifiers.vtt", "netflix_chicas_del_cable.vtt", "comments.vtt"]
)
def test_times_and_texts_agree_with_webvtt_py(shared_data, name):
    path = shared_data / "transcripts" / "webvtt" / name
    reference = webvtt.read(str(path))
    track = read_transcript(path)
    assert len(track) == len(reference)
    for caption, expected in zip(track, reference, strict=True):
        assert caption.span == Span(to_seconds(expected.start), to_seconds(expected.end))
        assert caption.text.split() == expected.text.split()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "num_captions"),
    [
        ("eulers-characteristic-formula", 107),
        ("eulers-formula-old", 104),
        ("eulers-formula-poem", 20),
        ("inventing-math", 205),
        ("moser", 132),
        ("music-and-measure-theory", 182),
    ],
)
def test_lecture_captions_are_read_whole(shared_data, name, num_captions):
    transcript = load_transcript(shared_data / "transcripts" / "lectures" / f"{name}.captions.srt")
    assert (len(transcript.track), transcript.num_dropped) == (num_captions, 0)


@pytest.mark.shared
def test_the_rolling_talk_reads_as_its_plain_text_once(shared_data):
    rolling = read_transcript(shared_data / "narrated" / "manifesto.vtt")
    plain = read_transcript(shared_data / "narrated" / "manifesto.srt")
    assert rolling.texts == plain.texts
    for unrolled, expected in zip(rolling, plain, strict=True):
        assert unrolled.span.start_seconds == expected.span.start_seconds
        assert unrolled.span.overlap_seconds(expected.span) > 0.9 * expected.span.duration_seconds


@pytest.mark.shared
def test_every_published_caption_is_read(shared_data):
    folder = shared_data / "captions" / "howto100m"
    paths = [path for path in sorted(folder.glob("*.csv")) if path.name != "small_val_captions.csv"]
    transcripts = [load_transcript(path) for path in paths]
    assert len(transcripts) == 60
    assert sum(len(transcript.track) for transcript in transcripts) == 5950
    assert sum(transcript.num_dropped for transcript in transcripts) == 0
    with pytest.raises(AnnotationError, match="several videos"):
        read_transcript(folder / "small_val_captions.csv")


def write(tmp_path, name: str, content: str | bytes):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_caption_list_is_read_with_its_missing_texts_dropped(tmp_path):
    path = write(
        tmp_path,
        "video.csv",
        'end,text,start,extra\r\n2.5,"add oil, stir",0.5,x\r\n3,,1,x\r\n4,nan,2,x\r\n'
        "5,none,3,x\r\n6, \t,4,x\r\n",
    )
    transcript = load_transcript(path)
    assert [(caption.text, caption.span) for caption in transcript.track] == [
        ("add oil, stir", Span(0.5, 2.5)),
        ("none", Span(3.0, 5.0)),  # a word like any other, only NaN means missing
    ]
    assert transcript.num_dropped == 3


@pytest.mark.parametrize(
    ("content", "line", "field"),
    [
        ("", 1, "start"),
        ("start,text\n", 1, "end"),
        ("start,end,text,video_id\n", 1, "video_id"),
        ("start,end,text\n0,1,a\nx,1,b\n", 3, "start"),
        ("start,end,text\n0,inf,a\n", 2, "end"),
        ("start,end,text\n-1,1,a\n", 2, "start"),
        ("start,end,text\n2,1,a\n", 2, "end"),
        ("start,end,text\n0,1\n", 2, None),
        ("start,end,text\n0,1,add oil, stir\n", 2, None),
        ('start,end,text\n0,1,"a\n', 2, None),
    ],
)
def test_faults_of_a_caption_list_name_line_and_field(tmp_path, content, line, field):
    path = write(tmp_path, "video.csv", content)
    with pytest.raises(AnnotationError, match=r"video\.csv") as caught:
        read_transcript(path)
    assert (caught.value.line, caught.value.field) == (line, field)


def test_a_caption_list_with_only_a_header_is_an_empty_track(tmp_path):
    assert len(read_transcript(write(tmp_path, "video.csv", "start,end,text\n"))) == 0


def test_cues_out_of_order_are_sorted(tmp_path):
    path = write(tmp_path, "v.vtt", "WEBVTT\n\n00:05.000 --> 00:06.000\nb\n\n00:01.000 --> 00:02.000\na")
    assert read_transcript(path).texts == ["a", "b"]


def test_other_encodings_are_named_with_their_line(tmp_path):
    path = write(tmp_path, "v.srt", "1\n00:00:01,000 --> 00:00:02,000\ncrème\n".encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"line 3: not UTF-8 text \(byte 0xe8\)"):
        read_transcript(path)


def test_files_that_cannot_be_opened_are_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"absent\.vtt: cannot be opened"):
        read_transcript(tmp_path / "absent.vtt")
    (tmp_path / "folder.srt").mkdir()
    with pytest.raises(AnnotationError, match=r"folder\.srt: cannot be opened"):
        read_transcript(tmp_path / "folder.srt")


def test_other_kinds_are_refused_with_those_that_are_known(tmp_path):
    with pytest.raises(AnnotationError, match=r"cannot read '\.ass' .* convert it to one of \.vtt, \.srt, "):
        read_transcript(write(tmp_path, "v.ass", ""))


words = st.text("abcdefghijklmnopqrstuvwxyzäß'?!0123456789", min_size=1, max_size=8)
texts = st.lists(words, min_size=1, max_size=6).map(" ".join).filter(lambda text: text != "nan")
milliseconds = st.integers(0, 3_000_000)
captions = st.builds(
    lambda text, start, length: Caption(text, Span(start / 1000, (start + length) / 1000)),
    texts,
    milliseconds,
    milliseconds,
)
tracks = st.lists(captions, max_size=8).map(lambda found: CaptionTrack(tuple(found)))


def stamp(seconds: float, separator: str) -> str:
    whole, fraction = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{separator}{fraction:03}"


def as_cues(track: CaptionTrack, separator: str) -> str:
    return "".join(
        f"{number}\n{stamp(caption.span.start_seconds, separator)} --> "
        f"{stamp(caption.span.end_seconds, separator)}\n{caption.text}\n\n"
        for number, caption in enumerate(track, start=1)
    )


def as_sbv(track: CaptionTrack) -> str:
    return "".join(
        f"{stamp(c.span.start_seconds, '.')},{stamp(c.span.end_seconds, '.')}\n{c.text}\n\n" for c in track
    )


def as_xml(track: CaptionTrack) -> str:
    rows = "".join(
        f'<p t="{round(1000 * caption.span.start_seconds)}" d="'
        f'{round(1000 * caption.span.end_seconds) - round(1000 * caption.span.start_seconds)}">'
        f"{caption.text}</p>"
        for caption in track
    )
    return f"<timedtext format='3'><body>{rows}</body></timedtext>"


def as_csv(track: CaptionTrack) -> str:
    content = io.StringIO()
    writer = csv.writer(content)
    writer.writerow(["start", "end", "text"])
    writer.writerows(
        [caption.span.start_seconds, caption.span.end_seconds, caption.text] for caption in track
    )
    return content.getvalue()


def as_columns(track: CaptionTrack) -> str:
    starts, ends = zip(*[(c.span.start_seconds, c.span.end_seconds) for c in track], strict=True)
    return json.dumps({"start": starts, "end": ends, "text": track.texts})


def as_records(track: CaptionTrack) -> str:
    return json.dumps(
        [{"text": c.text, "start": c.span.start_seconds, "end": c.span.end_seconds} for c in track]
    )


WRITERS = {
    ".vtt": lambda track: "WEBVTT\n\n" + as_cues(track, "."),
    ".srt": lambda track: as_cues(track, ","),
    ".sbv": as_sbv,
    ".xml": as_xml,
    ".csv": as_csv,
    ".json": as_columns,
    ".list.json": as_records,
}


@pytest.mark.parametrize("suffix", WRITERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(track=tracks)
def test_what_is_written_is_read_again(tmp_path, suffix, track):
    assume(len(track) > 0)
    # lists of single words are put together to captions, and lines carried on are read once
    assume(any(" " in text for text in track.texts) and len(set(track.texts)) == len(track))
    path = write(tmp_path, f"v{suffix}", WRITERS[suffix](track))
    assert read_transcript(path) == track


SAMPLE = CaptionTrack(
    (Caption("add oil, stir", Span(0.5, 2.25)), Caption("wait", Span(2, 5)), Caption("serve it", Span(7, 9)))
)


@pytest.mark.parametrize("suffix", [*WRITERS, ".align", ".json3"])
def test_a_damaged_file_gives_captions_or_says_where_it_is_damaged(tmp_path, suffix):
    if suffix == ".align":
        whole = b"0 12250 sil\n12250 19250 set\n19250 27250 white\n"
    elif suffix == ".json3":
        whole = (
            b'{"events": [{"tStartMs": 10, "dDurationMs": 20, "segs": [{"utf8": "add"}, {"utf8": "it"}]}]}'
        )
    else:
        whole = WRITERS[suffix](SAMPLE).encode()
    chance = random.Random(20261121)
    faults = []
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(content))
            kind = chance.randrange(4)
            if kind == 0:
                content[place] = chance.randrange(256)
            elif kind == 1:
                del content[place : place + chance.randint(1, 9)]
            elif kind == 2:
                content[place:place] = chance.choice(
                    [b"9" * 30, b"-", b"<", b'"', b"[", b"{", b"\n\n", b"NaN", b"null"]
                )
            else:
                content = content[: max(1, place)]
        try:
            load_transcript(write(tmp_path, f"v{suffix}", bytes(content)))
        except AnnotationError as error:
            faults.append(error.path)
    assert len(faults) > 30
    assert all(path.endswith(suffix) for path in faults)
