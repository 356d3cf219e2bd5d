"""Small valid files of every benchmark format, written by hand, and the readers they belong to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narravid.data.annotations.action_splits import read_hmdb51_splits, read_ucf101_splits
from narravid.data.annotations.cpd_lists import read_cpd_list
from narravid.data.annotations.crosstask import (
    read_crosstask_clips,
    read_crosstask_steps,
    read_crosstask_tasks,
    read_crosstask_videos,
)
from narravid.data.annotations.htm_align import read_htm_align
from narravid.data.annotations.kinetics import read_kinetics
from narravid.data.annotations.lsmdc import read_lsmdc
from narravid.data.annotations.msrvtt import read_msrvtt, read_msrvtt_pairs, read_msrvtt_video_ids
from narravid.data.annotations.youcook2 import (
    read_captioned_videos,
    read_video_durations,
    read_youcook2,
    read_youcook2_clips,
)


@dataclass(frozen=True)
class Sample:
    """A small valid file: its reader, its content, and what stands between the fields of a table."""

    read: Callable[[Path], Any]
    content: str
    separator: str | None = None

    def write(self, folder: Path) -> Path:
        path = folder / "sample"
        path.write_text(self.content, encoding="utf-8", newline="")
        return path


def table(read: Callable[[Path], Any], *rows: str, separator: str = ",") -> Sample:
    return Sample(read, "".join(f"{row}\n" for row in rows), separator)


def document(read: Callable[[Path], Any], value: Any) -> Sample:
    return Sample(read, json.dumps(value))


MSRVTT = {
    "info": {"year": "2016"},
    "videos": [
        {
            "video_id": "video0",
            "id": 0,
            "category": 9,
            "url": "https://www.youtube.com/watch?v=9lZi22qLlEo",
            "start time": 137.72,
            "end time": 149.44,
            "split": "train",
        },
        {
            "video_id": "video6513",
            "url": "https://www.youtube.com/watch?v=A9pM9iOuAzM",
            "start time": 116.03,
            "end time": 126.21,
            "split": "validate",
        },
    ],
    "sentences": [
        {"caption": "a car is shown", "video_id": "video0", "sen_id": 1},
        {"caption": "someone cooks", "video_id": "video6513", "sen_id": 20},
        {"caption": "a man drives", "video_id": "video0", "sen_id": 0},
    ],
}

YOUCOOK2 = {
    "database": {
        "GLd3aX16zBg": {
            "duration": 241.62,
            "subset": "training",
            "recipe_type": "113",
            "annotations": [
                {"segment": [114, 127], "id": 1, "sentence": "place a slice of cheese on the bread"},
                {"segment": [90, 102], "id": 0, "sentence": "spread margarine"},
            ],
            "video_url": "https://www.youtube.com/watch?v=GLd3aX16zBg",
        }
    }
}

SAMPLES = {
    "UCF101": table(
        read_ucf101_splits,
        "video_id,label,split1,split2,split3",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.mp4,1,1,1,2",
        "YoYo/v_YoYo_g01_c01.avi,101,2,0,1",
    ),
    "HMDB51": table(
        read_hmdb51_splits,
        "video_id,label,split1,split2,split3",
        "April_09_brush_hair_u_nm_np1_ba_goo_0.avi,brush_hair_test,1,1,2",
        "#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi,clap,0,2,1",
    ),
    "CPD": document(
        read_cpd_list,
        {
            "labels": ["smile", "run"],
            "database": {
                "a_smile_0": {"subset": "training", "annotations": {"label": "smile"}},
                "b_run_1": {"subset": "validation", "annotations": {"label": "run"}},
            },
        },
    ),
    "Kinetics": table(
        read_kinetics,
        "label,youtube_id,time_start,time_end,split,is_cc",
        "testifying,---QUuC4vJs,84,94,validate,0",
        '"sword fighting, slow",--3ouPhoy2A,20,30,train,1',
    ),
    "MSR-VTT pairs": table(
        read_msrvtt_pairs,
        "key,vid_key,video_id,sentence",
        "ret0,msr9770,video9770,a person is connecting something to system",
        'ret1,msr9771,video9771,"a girl, who does gymnastics"',
    ),
    "MSR-VTT videos": table(read_msrvtt_video_ids, "video_id", "video0", "video1"),
    "MSR-VTT": document(read_msrvtt, MSRVTT),
    "YouCook2 clips": table(
        read_youcook2_clips,
        "end,start,task,text,video_id",
        "60,47,226,pick the ends off the verdalago,xHr8X2Wpmno",
        "89,67.5,226,combine lemon juice,xHr8X2Wpmno",
    ),
    "YouCook2": document(read_youcook2, YOUCOOK2),
    "captioned videos": document(
        read_captioned_videos,
        {"v_QOlSCBRmfWY": {"duration": 82.7, "timestamps": [[0.8, 19.8], [17, 60]], "sentences": ["a", "b"]}},
    ),
    "durations": table(read_video_durations, "-xbTvALWCIg,455.02,10908", "8X2wDyjl6T8,46.0,1377"),
    "LSMDC": table(
        read_lsmdc,
        "\t".join(
            [
                "1004_Juno_00.00.32.775-00.00.37.566",
                *("00.00.32.775", "00.00.37.566", "00.00.32.700", "01.00.37.600"),
                '"No, and 5" more, says SOMEONE.',
            ]
        ),
        separator="\t",
    ),
    "CrossTask clips": table(
        read_crosstask_clips, "end,start,task_id,text,video_id", "56.12,53.72,105222,add ham,rzxVluau83Q"
    ),
    "CrossTask tasks": Sample(
        read_crosstask_tasks,
        "23521\nMake Jello Shots\nhttp://x/Make-Jello-Shots\n2\npour water,pour juice\n\n"
        "77721\nMake Irish Coffee\nhttp://x/Make-Irish-Coffee\n1\nadd sugar\n\n",
    ),
    "CrossTask videos": table(read_crosstask_videos, "41950,UYTGe1ixPcc,https://x/watch?v=UYTGe1ixPcc"),
    "CrossTask steps": table(read_crosstask_steps, "5,2.1,5.7", "1,6.28,13.31"),
    "HTM-Align": document(
        read_htm_align,
        {"-3CEg4y7mQM": [[0, 2.0, 4.5, "welcome back"], [1, 10.739, 17.535, "add oil and garlic"]]},
    ),
}
