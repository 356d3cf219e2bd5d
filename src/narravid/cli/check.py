"""`narravid check VIDEOS...`: find the bad files of an archive before a run does."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import joblib
import tyro

from narravid.bad_items import BAD_ITEMS_NAME
from narravid.cli.bad_item_lines import MAX_LISTED, bad_item_lines
from narravid.errors import ConfigError
from narravid.inference.checked_files import CheckedFiles
from narravid.inference.checking import (
    SECONDS_PER_HOUR,
    CheckReport,
    Narration,
    check_videos,
    find_narration,
)
from narravid.inference.video_files import find_video_files
from narravid.video.watched import WatchedDecoder

__all__ = ["Check"]

EXIT_BAD_FILES = 1
MEMORY_SUFFIX = ".good.jsonl"
BESIDE = "beside"


@dataclass(frozen=True)
class Check:
    """Find the files of an archive that cannot be used, and say why.

    Each file is decoded in a process of its own that is replaced when the file crashes it or stalls it for 10
    seconds. The bad ones go into a table `path,reason,times`, as training writes it. A check that was stopped
    goes on where it was: files found good are kept in a file beside the table and not read again while they
    are unchanged. Exit status: 0 when all are good, 1 when some are bad.

    Attributes:
        videos: Files (any suffix) and folders (searched to the bottom for files with a video's suffix).
        output: The table of bad files; replaced if it exists.
        depth: quick: open each file, find its end, decode the first frame and a second each in the middle and
            at the end (about a tenth of a second a file). full: also decode every packet and count what is
            damaged and what FFmpeg conceals (about two minutes of one core for an hour of 340x256 video).
        captions: Also check what is said: "beside" for a transcript beside each video, else a folder of
            transcripts or a file with the captions of all. Missing, faulty and empty ones make a video bad,
            and captions that start after its end. By default captions are not looked at.
        workers: Files that are checked at once; by default one for each core.
        fresh: Check the files anew that an earlier check found good.
        json: Print one JSON object instead of lines.
    """

    videos: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="VIDEOS")]
    output: Path = Path(BAD_ITEMS_NAME)
    depth: Literal["quick", "full"] = "quick"
    captions: str | None = None
    workers: int | None = None
    fresh: bool = False
    json: bool = False

    def run(self) -> int:
        """Check, write the table, and say what was found."""
        if not self.videos:
            raise ValueError("name at least one video file or folder")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        if self.output.is_dir():
            raise ConfigError(f"{self.output} is a folder; the table needs a file")
        report = self._check(self.output.with_suffix(MEMORY_SUFFIX))
        if self.json:
            print(json.dumps(self._facts(report), indent=2, ensure_ascii=False))
        else:
            self._print(report)
        return EXIT_BAD_FILES if len(report.bad) else 0

    def _check(self, memory: Path) -> CheckReport:
        narration = self._narration()
        found = find_video_files(self.videos)
        workers = self.workers or joblib.cpu_count()
        if self.fresh:
            memory.unlink(missing_ok=True)
        report = CheckReport()
        with WatchedDecoder(num_workers=workers) as decoder, CheckedFiles(memory) as checked_files:
            try:
                return check_videos(
                    found,
                    checker=decoder,
                    checked_files=checked_files,
                    whole=self.depth == "full",
                    num_workers=workers,
                    narration=narration,
                    report=report,
                )
            except KeyboardInterrupt:
                said = (
                    f"{len(checked_files):,} good files are remembered; the same command goes on from there"
                )
                print(f"narravid: {said}", file=sys.stderr)
                raise
            finally:
                report.bad.write(self.output)

    def _narration(self) -> Narration | None:
        if self.captions is None:
            return None
        place = None if self.captions == BESIDE else Path(self.captions)
        return find_narration(self.videos, captions=place)

    def _facts(self, report: CheckReport) -> dict[str, Any]:
        return {
            "num_files": report.num_files,
            "num_good": report.num_good,
            "num_bad": len(report.bad),
            "num_known_from_before": report.num_known,
            "num_repeated": report.num_repeated,
            "not_looked_at_by_suffix": dict(report.not_looked_at.most_common()),
            "hours_of_good_video": report.video_seconds / SECONDS_PER_HOUR,
            "depth": self.depth,
            "bad_by_reason": dict(report.bad.by_reason().most_common()),
            "output": str(self.output),
        }

    def _print(self, report: CheckReport) -> None:
        bad = report.bad
        for line in bad_item_lines(bad, "bad", table=self.output):
            print(line)
        self._print_passed_over(report)
        known = f", {report.num_known:,} of them known from before" if report.num_known else ""
        hours = report.video_seconds / SECONDS_PER_HOUR
        print(
            f"{_count(report.num_files, 'file')} checked ({self.depth}): {report.num_good:,} good "
            f"({hours:,.2f} h of video){known}, {len(bad):,} bad; written to {self.output}"
        )

    def _print_passed_over(self, report: CheckReport) -> None:
        suffixes = report.not_looked_at
        if suffixes:
            kinds = ", ".join(f"{count:,} x {suffix}" for suffix, count in suffixes.most_common(MAX_LISTED))
            said = f"{_count(suffixes.total(), 'file')} without a video's suffix ({kinds})"
            print(f"not looked at: {said}; name a file itself to try it")
        if report.num_repeated:
            print(f"{_count(report.num_repeated, 'path')} led to a file that is counted already")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
