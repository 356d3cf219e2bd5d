"""Bytes, hours and money for HTM-AA and HowTo100M: the tables of docs/scaling.md.

    python benchmarks/scaling.py [--core-seconds-per-second 0.3] [--price-of-a-core-hour 0.04] ...

Every number that goes in is an option: put in those of your own machine (`benchmarks/packing.py`,
`benchmarks/decoding.py`, `benchmarks/pack_tables.py`) and of your own provider. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable, Sequence

from scaling_inputs import CORPORA, SECONDS_PER_HOUR, Corpus, Prices, Rates

HOURS_PER_DAY = 24
MB, GB, TB = 1e6, 1e9, 1e12
MACHINES = ((1, 16), (1, 64), (10, 64))
CLIP_RATES = (100, 300, 1000)


def pack_bytes(corpus: Corpus, rates: Rates) -> float:
    """Size of the shards."""
    return corpus.held_seconds * rates.pack_bytes_per_second


def packing_core_hours(corpus: Corpus, rates: Rates) -> float:
    """Processor time of packing: what lies between segments is leapt over, and costs next to nothing."""
    return corpus.held_seconds * rates.core_seconds_per_second / SECONDS_PER_HOUR


def segment_bytes(corpus: Corpus, rates: Rates) -> float:
    """What one clip reads."""
    return corpus.segment_seconds * rates.pack_bytes_per_second


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in Markdown; the first is the heading, numbers stand to the right."""
    heading, *others = rows
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heading, rule, *others])


def figure(value: float) -> str:
    """A number with three digits that count."""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(0, digits)}f}" if digits > 0 else f"{round(value, digits):,.0f}"


def dollars(value: float) -> str:
    """An amount, to two digits that count."""
    return f"{round(value, min(2, 1 - math.floor(math.log10(value)))):,.{2 if value < 1 else 0}f} $"


def by_corpus(lines: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A table with a column for each corpus."""
    return table([["", *(corpus.name for corpus in CORPORA)], *([name, *cells] for name, cells in lines)])


def archive_table() -> str:
    """What the archives are."""
    return by_corpus(
        [
            ("videos", [f"{corpus.num_videos:,}" for corpus in CORPORA]),
            ("captions", [f"{corpus.num_captions:,}" for corpus in CORPORA]),
            ("hours", [f"{corpus.hours:,.0f}" for corpus in CORPORA]),
            ("files", [f"{corpus.num_bytes / TB:.0f} TB" for corpus in CORPORA]),
            ("files, an hour", [f"{corpus.num_bytes / corpus.hours / MB:.0f} MB" for corpus in CORPORA]),
            ("seconds held for a second of video", [f"{corpus.held_share:.2f}" for corpus in CORPORA]),
            ("mean segment", [f"{corpus.segment_seconds:.1f} s" for corpus in CORPORA]),
        ]
    )


def rates_table(rates: Rates) -> str:
    """What was measured."""
    return table(
        [
            ["measured, with the default settings", "one core"],
            ["shards, for a second held", f"{rates.pack_bytes_per_second / 1e3:g} kB"],
            ["the same with --crf 23", f"{rates.small_bytes_per_second / 1e3:g} kB"],
            ["packing, for a second held", f"{rates.core_seconds_per_second:g} s"],
            ["a clip out of a file", f"{rates.file_clip_ms:g} ms"],
            ["the same clip out of a shard", f"{rates.pack_clip_ms:g} ms"],
            ["table of the pack, for a caption", f"{rates.table_bytes_per_caption:g} bytes"],
            ["table of the pack, for a segment", f"{rates.table_bytes_per_segment:g} bytes"],
            ["memory of packing, for a caption", f"{rates.memory_bytes_per_caption:g} bytes"],
            ["memory of training, for a video", f"{rates.memory_bytes_per_video:g} bytes"],
        ]
    )


def prices_table(prices: Prices) -> str:
    """What is assumed."""
    return table(
        [
            ["assumed; put in your own", "price"],
            ["a TB in an object store, a month", f"{prices.price_of_a_terabyte_month:g} $"],
            ["a core, an hour", f"{prices.price_of_a_core_hour:g} $"],
            ["1,000 requests that read", f"{prices.price_of_1000_gets:g} $"],
            ["1,000 requests that write", f"{prices.price_of_1000_puts:g} $"],
            ["a TB out of the provider's region", f"{prices.price_of_a_terabyte_out:g} $"],
        ]
    )


def size_table(rates: Rates) -> str:
    """How large the packs are."""
    num_shards = [math.ceil(corpus.num_videos / rates.videos_per_shard) for corpus in CORPORA]
    sizes = [pack_bytes(corpus, rates) for corpus in CORPORA]
    tables = [
        corpus.num_captions * rates.table_bytes_per_caption
        + corpus.num_segments * rates.table_bytes_per_segment
        for corpus in CORPORA
    ]
    return by_corpus(
        [
            ("hours held", [f"{corpus.held_seconds / SECONDS_PER_HOUR:,.0f}" for corpus in CORPORA]),
            ("segments", [f"{figure(corpus.num_segments)}" for corpus in CORPORA]),
            ("shards", [f"{count:,}" for count in num_shards]),
            ("size of the pack", [f"{figure(size / TB)} TB" for size in sizes]),
            (
                "share of the files",
                [f"{size / corpus.num_bytes:.0%}" for size, corpus in zip(sizes, CORPORA, strict=True)],
            ),
            (
                "size with --crf 23",
                [
                    f"{figure(corpus.held_seconds * rates.small_bytes_per_second / TB)} TB"
                    for corpus in CORPORA
                ],
            ),
            (
                "a shard",
                [f"{figure(size / count / MB)} MB" for size, count in zip(sizes, num_shards, strict=True)],
            ),
            ("videos.arrow", [f"{figure(size / GB)} GB" for size in tables]),
        ]
    )


def time_table(rates: Rates, prices: Prices) -> str:
    """How long packing takes."""
    hours = [packing_core_hours(corpus, rates) for corpus in CORPORA]
    rows: list[tuple[str, list[str]]] = [("core-hours", [figure(value) for value in hours])]
    for num_machines, num_cores in MACHINES:
        machines = "1 machine" if num_machines == 1 else f"{num_machines} machines"
        days = [value / (num_machines * num_cores * HOURS_PER_DAY) for value in hours]
        rows.append((f"{machines} of {num_cores} cores", [f"{figure(value)} days" for value in days]))
    most_cores = math.prod(MACHINES[-1])
    read = [
        corpus.num_bytes / (value / most_cores * SECONDS_PER_HOUR)
        for value, corpus in zip(hours, CORPORA, strict=True)
    ]
    rows.append(("files that these read meanwhile", [f"{figure(value / MB)} MB/s" for value in read]))
    cost = [dollars(value * prices.price_of_a_core_hour) for value in hours]
    return by_corpus([*rows, ("cost of the cores", cost)])


def memory_table(rates: Rates) -> str:
    """What must fit into memory."""
    packing = [corpus.num_captions * rates.memory_bytes_per_caption for corpus in CORPORA]
    training = [corpus.num_videos * rates.memory_bytes_per_video for corpus in CORPORA]
    return by_corpus(
        [
            ("packing: all captions, once a machine", [f"{figure(value / GB)} GB" for value in packing]),
            (
                "training from files: the same, in each process",
                [f"{figure(value / GB)} GB" for value in packing],
            ),
            ("training from a pack, in each process", [f"{figure(value / MB)} MB" for value in training]),
        ]
    )


def feeding_table(rates: Rates) -> str:
    """Cores and net that feed a GPU."""
    small, large = CORPORA
    rows = [["clips a second", "cores, files", "cores, shards", f"read, {small.name}", f"read, {large.name}"]]
    for rate in CLIP_RATES:
        cores = [f"{math.ceil(rate * ms / 1e3)}" for ms in (rates.file_clip_ms, rates.pack_clip_ms)]
        read = [f"{figure(rate * segment_bytes(corpus, rates) / MB)} MB/s" for corpus in CORPORA]
        rows.append([f"{rate:,}", *cores, *read])
    return table(rows)


def cost_table(rates: Rates, prices: Prices) -> str:
    """What a pack and a published run cost."""
    read_bytes = [corpus.num_clips * segment_bytes(corpus, rates) for corpus in CORPORA]
    puts = [pack_bytes(corpus, rates) / (prices.upload_part_mb * MB) for corpus in CORPORA]
    month = prices.price_of_a_terabyte_month
    return by_corpus(
        [
            ("files, a month", [dollars(corpus.num_bytes / TB * month) for corpus in CORPORA]),
            ("pack, a month", [dollars(pack_bytes(corpus, rates) / TB * month) for corpus in CORPORA]),
            (
                "requests to write the pack",
                [dollars(value / 1e3 * prices.price_of_1000_puts) for value in puts],
            ),
            (
                "clips of the published run",
                [f"{corpus.num_clips / 1e6:,.1f} million" for corpus in CORPORA],
            ),
            (
                "decoding them from files",
                [decoding_cost(corpus, rates.file_clip_ms, prices) for corpus in CORPORA],
            ),
            (
                "decoding them from shards",
                [decoding_cost(corpus, rates.pack_clip_ms, prices) for corpus in CORPORA],
            ),
            (
                "requests, one a clip",
                [dollars(corpus.num_clips / 1e3 * prices.price_of_1000_gets) for corpus in CORPORA],
            ),
            ("bytes read", [f"{figure(value / TB)} TB" for value in read_bytes]),
            (
                "the same from outside the region",
                [dollars(value / TB * prices.price_of_a_terabyte_out) for value in read_bytes],
            ),
            (
                "copying the pack out once",
                [
                    dollars(pack_bytes(corpus, rates) / TB * prices.price_of_a_terabyte_out)
                    for corpus in CORPORA
                ],
            ),
        ]
    )


def decoding_cost(corpus: Corpus, clip_ms: float, prices: Prices) -> str:
    """Of the cores that decode all clips of the published run."""
    return dollars(corpus.num_clips * clip_ms / 1e3 / SECONDS_PER_HOUR * prices.price_of_a_core_hour)


def parse() -> tuple[Rates, Prices]:
    """The command line: an option for each rate and price."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for defaults in (Rates(), Prices()):
        for field in dataclasses.fields(defaults):
            value = getattr(defaults, field.name)
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=type(value),
                default=value,
                help=f"default {value:g}",
            )
    options = vars(parser.parse_args())
    rates, prices = (
        kind(**{field.name: options[field.name] for field in dataclasses.fields(kind)})
        for kind in (Rates, Prices)
    )
    return rates, prices


def main() -> None:
    """Print the tables."""
    rates, prices = parse()
    for text in (
        archive_table(),
        rates_table(rates),
        prices_table(prices),
        size_table(rates),
        time_table(rates, prices),
        memory_table(rates),
        feeding_table(rates),
        cost_table(rates, prices),
    ):
        print(text, end="\n\n")


if __name__ == "__main__":
    main()
