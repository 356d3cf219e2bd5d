"""YouTube's timed text in its XML layouts and in JSON, and documents that mean harm."""

from __future__ import annotations

import json
import shutil
import tracemalloc

import pytest

from narravid.errors import AnnotationError
from narravid.text.transcripts import load_transcript, read_transcript
from narravid.types import Span


def read(tmp_path, content: str, suffix: str = ".xml"):
    path = tmp_path / f"v{suffix}"
    path.write_text(content, encoding="utf-8")
    return load_transcript(path)


def pairs(transcript) -> list[tuple[str, Span]]:
    return [(caption.text, caption.span) for caption in transcript.track]


@pytest.mark.shared
def test_the_real_answer_of_youtube_is_read(shared_data, tmp_path):
    path = shutil.copy(shared_data / "transcripts" / "youtube" / "transcript.xml.static", tmp_path / "v.xml")
    transcript = load_transcript(path)
    assert pairs(transcript) == [
        ("Hey, this is just a test", Span(0.0, 1.54)),
        ("this is not the original transcript", Span(1.54, 1.54 + 4.16)),
        ("just something shorter, I made up for testing", Span(5.7, 5.7 + 3.239)),
    ]
    assert transcript.num_dropped == 1


def test_what_is_escaped_twice_is_read_as_it_was_said(tmp_path):
    content = '<transcript><text start="1">it&amp;#39;s 3 &amp;lt; 4</text></transcript>'
    assert pairs(read(tmp_path, content)) == [("it's 3 < 4", Span(1.0, 1.0))]


def test_the_third_layout_has_words_of_its_own_and_milliseconds(tmp_path):
    content = """<?xml version="1.0" encoding="utf-16"?><timedtext format="3">
    <head><ws id="0"/></head><body><w t="0" id="1"/>
    <p t="190" d="5890" w="1"><s ac="248">monica's</s><s t="320"> art</s><br/>hall</p>
    <p t="3370" d="2710" w="1" a="1">
</p><p t="6100" w="1">bye</p></body></timedtext>"""
    transcript = read(tmp_path, content, ".srv3")
    assert pairs(transcript) == [("monica's art hall", Span(0.19, 6.08)), ("bye", Span(6.1, 6.1))]
    assert transcript.num_dropped == 1


def test_the_second_layout(tmp_path):
    content = '<timedtext><window id="1"/><text t="500" d="1000" w="1">stir</text></timedtext>'
    assert pairs(read(tmp_path, content, ".srv2")) == [("stir", Span(0.5, 1.5))]


def test_json3(tmp_path):
    events = [
        {"tStartMs": 0, "dDurationMs": 9000, "id": 1, "wpWinPosId": 1},
        {"tStartMs": 190, "dDurationMs": 5890, "segs": [{"utf8": "add"}, {"utf8": " oil", "tOffsetMs": 3}]},
        {"tStartMs": 3370, "aAppend": 1, "segs": [{"utf8": "\n"}]},
        {"tStartMs": 7000, "segs": [{"acAsrConf": 0}, {"utf8": "stir"}]},
    ]
    transcript = read(tmp_path, json.dumps({"wireMagic": "pb3", "events": events}), ".json3")
    assert pairs(transcript) == [("add oil", Span(0.19, 6.08)), ("stir", Span(7.0, 7.0))]
    assert transcript.num_dropped == 1


@pytest.mark.parametrize(
    ("content", "line", "field", "reason"),
    [
        ("", 1, None, "not well-formed XML: no element found"),
        ("<transcript>\n<text start='1'>a</transcript>", 2, None, "mismatched tag"),
        ("<transcript>\n<text start='x'>a</text></transcript>", 2, "start", "must be seconds"),
        ("<transcript>\n\n<text dur='1'>a</text></transcript>", 3, "start", "is missing"),
        ("<transcript><text start='1e308' dur='1e308'>a</text></transcript>", 1, "dur", "end somewhere"),
        ("<timedtext><p t='1.5'>a</p></timedtext>", 1, "t", "whole number"),
        ("<timedtext><p t='9999999999999'>a</p></timedtext>", 1, "t", "whole number"),
        ("<html>\n<text start='1'>a</text></html>", 1, None, "<html> is no timed text of YouTube; known are"),
    ],
)
def test_faults_name_line_and_attribute(tmp_path, content, line, field, reason):
    with pytest.raises(AnnotationError, match=reason) as caught:
        read(tmp_path, content)
    assert (caught.value.line, caught.value.field) == (line, field)


@pytest.mark.parametrize("event", [{"tStartMs": 10**400, "segs": []}, {"segs": [{"utf8": "a"}]}])
def test_faults_of_json3_name_the_event(tmp_path, event):
    with pytest.raises(AnnotationError, match=r"events\[1\]\.tStartMs"):
        read(tmp_path, json.dumps({"events": [{}, event]}), ".json3")


def test_a_file_beside_is_not_read_into_a_caption(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    content = (
        f'<?xml version="1.0"?>\n<!DOCTYPE t [<!ENTITY x SYSTEM "{(tmp_path / "secret.txt").as_uri()}">]>'
        '<transcript><text start="1">&x;</text></transcript>'
    )
    with pytest.raises(AnnotationError, match="refused: it declares a document type") as caught:
        read(tmp_path, content)
    assert caught.value.line == 2


def test_entities_that_multiply_are_refused_before_they_do(tmp_path):
    entities = ['<!ENTITY a0 "lol lol lol lol">']
    entities += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)]
    content = f"<!DOCTYPE t [{''.join(entities)}]><transcript><text start='1'>&a11;</text></transcript>"
    tracemalloc.start()
    with pytest.raises(AnnotationError, match="refused"):
        read(tmp_path, content)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_an_entity_that_is_not_declared_is_an_error(tmp_path):
    with pytest.raises(AnnotationError, match="undefined entity"):
        read(tmp_path, "<transcript><text start='1'>&nbsp;</text></transcript>")


def test_elements_without_end_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="not well-formed"):
        read_transcript(_deep(tmp_path))


def _deep(tmp_path):
    path = tmp_path / "deep.xml"
    path.write_text("<transcript>" + "<a>" * 100_000)
    return path
