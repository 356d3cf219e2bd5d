"""`narravid evaluate BENCHMARK`: measure a model; the options are those of the benchmark and of a run."""

from __future__ import annotations

import inspect
import types
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Self, TypeVar, get_args

import tyro

from narravid.bad_items import MAX_BAD_SHARE, TooManyBadItemsError
from narravid.errors import ConfigError
from narravid.evaluation.benchmarks.registry import BENCHMARKS, Benchmark
from narravid.evaluation.embedding_cache import EmbeddingCache
from narravid.evaluation.result_files import write_result
from narravid.evaluation.result_print import print_result
from narravid.evaluation.session import EvaluationSession
from narravid.inference.clip_encoder import Backend, EmbeddingDtype
from narravid.models.cache import default_cache
from narravid.models.hub import load
from narravid.recipes.devices import pick_device
from narravid.video.watched import WatchedDecoder

__all__ = ["EVALUATE_COMMANDS", "Evaluate"]

BenchmarkT = TypeVar("BenchmarkT", bound=Benchmark)

CACHE_FOLDER = "embeddings"


@dataclass(frozen=True)
class Evaluate(Generic[BenchmarkT]):
    """Measure a model on a benchmark.

    Attributes:
        benchmark: What is measured, on which files, how.
        model: Model folder, run folder, published checkpoint or name.
        output: Folder for the result: result.json with the protocol card, table.md, pictures and a page of
            examples. What is there under these names is replaced. Nothing is written when absent.
        device: Where to compute: cpu, cuda, cuda:1, or auto for a GPU when there is one.
        dtype: Arithmetic of the network.
        backend: What computes the network on clips; all but torch are extras.
        batch_size: Windows per forward pass.
        workers: Decoding processes, which work ahead of the network.
        cache: Folder that keeps what the network gave for windows, so that a second run decodes nothing;
            Narravid's own cache folder when absent.
        no_cache: Keep nothing and use nothing that was kept.
        max_bad_share: Stop when a larger share of the videos cannot be read. What is bad or missing is left
            out, and the result says so. 1 never stops.
        seed: Of the resampling behind the intervals.
    """

    benchmark: Annotated[BenchmarkT, tyro.conf.arg(name="")]
    model: str
    output: Path | None = None
    device: str = "cpu"
    dtype: EmbeddingDtype = "float32"
    backend: Backend = "torch"
    batch_size: int = 8
    workers: int = 1
    cache: Path | None = None
    no_cache: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    max_bad_share: float = MAX_BAD_SHARE
    seed: int = 0

    @classmethod
    def chosen_defaults(cls, words: Sequence[str]) -> Self | None:
        """The defaults are the fields' own."""
        return None

    @classmethod
    def help_text(cls) -> str:
        """What the benchmark is."""
        [benchmark] = get_args(cls.__orig_bases__[0])  # type: ignore[attr-defined]
        return (inspect.getdoc(benchmark) or "").split("\n\nAttributes:")[0]

    def run(self) -> int:
        """Measure, print, write the result."""
        _check_output(self.output)
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be from 0 to 1, got {self.max_bad_share}")
        device = pick_device(self.device)
        with ExitStack() as stack:
            session = EvaluationSession(
                model=load(self.model, device=device),
                decoder=stack.enter_context(WatchedDecoder(num_workers=self.workers)),
                model_name=self.model,
                device=device,
                dtype=self.dtype,
                backend=self.backend,
                batch_size=self.batch_size,
                cache=self._open_cache(stack),
                max_bad_share=self.max_bad_share,
                seed=self.seed,
            )
            try:
                result = self.benchmark.run(session)
            except TooManyBadItemsError as error:
                raise TooManyBadItemsError(
                    f"{error}. Bring the videos back, or let more be missing (--max-bad-share); the numbers "
                    "are then of what is left"
                ) from error
            print_result(result)
            if self.output is None:
                print("nothing is written; --output FOLDER keeps the result, its pictures and examples")
            else:
                write_result(result, self.output, decoder=session.decoder)
                print(f"result, table, pictures and examples: {self.output}")
        return 0

    def _open_cache(self, stack: ExitStack) -> EmbeddingCache | None:
        if self.no_cache:
            if self.cache is not None:
                raise ConfigError("--cache and --no-cache contradict each other; leave one out", key="cache")
            return None
        return stack.enter_context(EmbeddingCache(self.cache or default_cache() / CACHE_FOLDER))


def _check_output(output: Path | None) -> None:
    """Refuse, before any work, what cannot become a folder."""
    if output is None:
        return
    if output.is_file():
        raise ConfigError(f"{output} is a file; --output needs a folder", key="output")
    if output.suffix == ".json":
        raise ConfigError(
            f"--output names a folder, in which result.json is one file of several; got {output}",
            key="output",
        )


def _command(benchmark: type[Benchmark]) -> type[Evaluate[Any]]:
    """The command of one benchmark, whose documentation it takes over."""
    base: Any = Evaluate
    command: type[Evaluate[Any]] = types.new_class(f"Evaluate{benchmark.__name__}", (base[benchmark],))
    command.__doc__ = (inspect.getdoc(benchmark) or "").split("\n")[0]
    return command


EVALUATE_COMMANDS: dict[str, type[Evaluate[Any]]] = {
    name: _command(benchmark) for name, benchmark in BENCHMARKS.items()
}
