"""CrossTask made small, in the published layout: two tasks, three videos, one that is broken, one absent."""

from __future__ import annotations

from pathlib import Path

from narravid.types import Span
from planned_videos import write_planned_video

JELLO, SHELF = "23521", "59684"
STEPS = {JELLO: ("pour water", "pour juice", "stir mixture"), SHELF: ("cut shelve", "sand shelve")}
TITLES = {JELLO: "Make Jello Shots", SHELF: "Build Simple Floating Shelves"}
VIDEOS = {  # name: (task, number, seconds, intervals); a number of None: there is no such file
    "jello0": (JELLO, 0, 12, [(1, 1, 3), (2, 4, 6), (3, 8, 11)]),
    "jello1": (JELLO, 1, 10, [(1, 0, 2), (2, 3, 5)]),
    "shelf0": (SHELF, 2, 10, [(1, 2, 4), (2, 6, 9), (1, 5, 6)]),
    "gone00": (SHELF, None, 0, [(1, 0, 2)]),
    "broken": (JELLO, None, 0, [(1, 0, 2), (2, 3, 5)]),
}
TRUTH = {
    number: [(STEPS[task][step - 1], Span(start, end)) for step, start, end in intervals]
    for task, number, _, intervals in VIDEOS.values()
    if number is not None
}


def write_archive(root: Path) -> Path:
    """Videos, the folder of the release and the table of steps."""
    for name, (task, number, seconds, _) in VIDEOS.items():
        if number is not None:
            write_planned_video(root / "videos" / task / f"{name}.mp4", number, seconds=seconds)
    (root / "videos" / JELLO / "broken.mp4").write_bytes(b"no video at all")
    write_release(root / "crosstask_release")
    write_table(root / "crosstask.csv")
    return root


def write_release(folder: Path) -> None:
    (folder / "annotations").mkdir(parents=True)
    blocks = [
        f"{task}\n{TITLES[task]}\nhttp://wiki\n{len(steps)}\n{','.join(steps)}\n\n"
        for task, steps in STEPS.items()
    ]
    (folder / "tasks_primary.txt").write_text("".join(blocks))
    (folder / "tasks_related.txt").write_text("1\nBoil Eggs\nhttp://wiki\n1\nboil\n\n")
    listed = "".join(f"{task},{name},http://tube\n" for name, (task, *_) in VIDEOS.items())
    (folder / "videos.csv").write_text(listed)
    (folder / "videos_val.csv").write_text(listed + f"{SHELF},unseen,http://tube\n")
    for name, (task, _, _, intervals) in VIDEOS.items():
        lines = "".join(f"{step},{start},{end}\n" for step, start, end in intervals)
        (folder / "annotations" / f"{task}_{name}.csv").write_text(lines)


def write_table(path: Path) -> None:
    rows = [
        f"{end},{start},{task},{STEPS[task][step - 1]},{name}"
        for name, (task, _, _, intervals) in VIDEOS.items()
        for step, start, end in intervals
    ]
    path.write_text("\n".join(["end,start,task_id,text,video_id", *rows]) + "\n")
