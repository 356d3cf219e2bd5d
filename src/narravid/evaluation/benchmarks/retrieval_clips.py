"""The clips of a retrieval benchmark as embeddings: from pixels, or from features extracted beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from narravid.data.annotations.video_places import locate_videos
from narravid.data.feature_clips import FeaturePair
from narravid.data.feature_files import FeatureTracks, FolderTracks
from narravid.errors import AnnotationError, ConfigError, DecodeError, NarravidError
from narravid.evaluation.benchmarks.retrieval_protocol import RetrievalProtocol
from narravid.evaluation.embed import EmbeddedPairs, MissingPair, embed_pairs
from narravid.evaluation.feature_retrieval import embed_feature_pairs
from narravid.evaluation.pairs import RetrievalPair
from narravid.evaluation.session import EvaluationSession
from narravid.evaluation.windows import spread_windows
from narravid.inference.embedder import Embedder
from narravid.protocols import FeatureDualEncoder
from narravid.types import Span

__all__ = [
    "EmbeddedClips",
    "ListedPair",
    "embed_listed",
    "embed_on_features",
    "embed_on_pixels",
    "one_entry_per_row",
    "with_files",
]


@dataclass(frozen=True, slots=True)
class ListedPair:
    """A clip of a benchmark's list, wherever its video or features may lie, and a sentence for it.

    Attributes:
        name: Name of the clip or its video among extracted features.
        places: Where its video may lie below the benchmark's folder, without suffix.
        text: The sentence.
        span: The part of the video; None for all of it.
    """

    name: str
    places: tuple[str, ...]
    text: str
    span: Span | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedClips:
    """What a retrieval benchmark is scored on.

    Attributes:
        embedded: The embeddings; paths of pairs are files, or names of features where there is no file.
        names: For each path what the clip is called on every machine; results of different models are
            compared by these names.
        card: What the protocol card says of the embeddings.
    """

    embedded: EmbeddedPairs
    names: Mapping[str, str]
    card: Mapping[str, Any]


def embed_listed(
    session: EvaluationSession,
    protocol: RetrievalProtocol,
    listed: Sequence[ListedPair],
    *,
    source: Path,
    videos: Path | None,
) -> EmbeddedClips:
    """Embed the clips of a list, from features where the protocol names some, else from the videos.

    What is not there at all is missing and stops nothing, because published benchmarks are made of videos
    that go one by one; what is there and cannot be read counts as bad.

    Args:
        session: The run.
        protocol: How to embed.
        listed: Clips and sentences.
        source: The file that lists them.
        videos: The benchmark's folder; with features only to show examples.

    Returns:
        The embeddings, one gallery entry for each row of the list.

    Raises:
        AnnotationError: If the list is empty.
        CheckpointError: If the model is of a kind that cannot do this.
        ConfigError: If neither videos nor features are named.
        TooManyBadItemsError: If more of the clips are unreadable than the session allows.
        NarravidError: If nothing can be read.
    """
    if not listed:
        raise AnnotationError(source, "lists no clip")
    if protocol.features:
        model = session.feature_dual_encoder()
        tracks = protocol.tracks(model.feature_spec)
        pairs = [FeaturePair(pair.name, pair.text, pair.span) for pair in listed]
        embedded = one_entry_per_row(embed_on_features(session, protocol, pairs, tracks=tracks))
        file_of = {} if videos is None else _files_by_name(listed, videos)
        return with_files(embedded, file_of, card=protocol.feature_card(model))
    _refuse_features_model(session)
    if videos is None:
        raise ConfigError("name the folder of the videos with --videos", key="videos")
    there, missing, names = _find_videos(listed, videos)
    embedded = embed_on_pixels(session, protocol, there)
    embedded = replace(embedded, missing=(*missing, *embedded.missing))
    card = protocol.pixel_card(session.pixel_dual_encoder())
    return EmbeddedClips(one_entry_per_row(embedded), names, card)


def with_files(
    embedded: EmbeddedPairs, file_of: Mapping[str, str], *, card: Mapping[str, Any]
) -> EmbeddedClips:
    """Embeddings of features with the files of their videos, so that examples can be shown.

    Args:
        embedded: Pairs whose paths are names of features.
        file_of: The video of each name, where there is one.
        card: What the protocol card says of the embeddings.
    """
    pairs = tuple(replace(pair, path=file_of.get(pair.path, pair.path)) for pair in embedded.pairs)
    names = {shown.path: pair.path for shown, pair in zip(pairs, embedded.pairs, strict=True)}
    return EmbeddedClips(replace(embedded, pairs=pairs), names, card)


def one_entry_per_row(embedded: EmbeddedPairs) -> EmbeddedPairs:
    """The same with a gallery entry for each row of the list, as the published programs count.

    YouCook2's list has one clip twice, with two sentences: its two entries tie.
    """
    rows = embedded.clip_of_text
    return replace(embedded, video=embedded.video[rows], clip_of_text=np.arange(len(rows)))


def _find_videos(
    listed: Sequence[ListedPair], videos: Path
) -> tuple[list[RetrievalPair], list[MissingPair], dict[str, str]]:
    """The pairs whose video is there, those whose video is not, and the names of the files."""
    found = locate_videos(videos, listed)
    absent = {video.index: video.reason for video in found.missing}
    there, missing, names = [], [], {}
    for number, (path, pair) in enumerate(zip(found.paths, listed, strict=True)):
        if path is not None:
            there.append(RetrievalPair(str(path), pair.text, pair.span))
            names[str(path)] = pair.name
        else:
            wanted = RetrievalPair(str(videos / pair.places[0]), pair.text, pair.span)
            missing.append(MissingPair(wanted, absent[number]))
    if not there:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in found.num_missing.items())
        raise NarravidError(
            f"none of {len(listed)} clips has a video in {videos}: {reasons}; the first should be "
            f"{listed[0].places[0]} with a video's suffix"
        )
    return there, missing, names


def embed_on_pixels(
    session: EvaluationSession, protocol: RetrievalProtocol, pairs: Sequence[RetrievalPair]
) -> EmbeddedPairs:
    """Embed the windows of clips and the sentences for them.

    Args:
        session: The run.
        protocol: How to embed.
        pairs: Clips and sentences; those of one clip share its embedding.

    Returns:
        The mean over the windows of each clip: of L2-normalised embeddings where cosines are compared.

    Raises:
        CheckpointError: If the model does not work on pixels.
        TooManyBadItemsError: If more of the clips are unreadable than the session allows.
        NarravidError: If nothing can be read.
    """
    _refuse_features_model(session)
    model = session.pixel_dual_encoder()
    embedder = Embedder(
        model,
        device=session.device,
        dtype=session.dtype,
        batch_size=session.batch_size,
        similarity=protocol.similarity_of(model),
        backend=session.backend,
    )
    embedded = embed_pairs(
        embedder,
        pairs,
        windows=spread_windows(protocol.clip_spec_of(model), protocol.num_windows),
        decoder=session.decoder,
        max_bad_share=session.max_bad_share,
        cache=session.cache,
        text=protocol.text,
    )
    if not embedded.pairs:
        first = embedded.missing[0]
        raise NarravidError(f"none of {len(pairs)} pairs could be read; {first.pair.path}: {first.reason}")
    return embedded


def embed_on_features(
    session: EvaluationSession,
    protocol: RetrievalProtocol,
    pairs: Sequence[FeaturePair],
    *,
    tracks: FeatureTracks,
) -> EmbeddedPairs:
    """Embed the features of clips and the sentences for them.

    Args:
        session: The run.
        protocol: How to embed.
        pairs: Clips and sentences; those of one clip share its embedding.
        tracks: The features; clips of which a folder has no file are missing, not bad.

    Raises:
        CheckpointError: If the model does not work on features.
        ConfigError: If the session has another backend than torch, which is for clips.
        TooManyBadItemsError: If more of the clips are unreadable than the session allows.
        NarravidError: If nothing can be read.
    """
    model = session.feature_dual_encoder()
    if session.backend != "torch":
        raise ConfigError(
            f"{session.backend} computes networks on clips; leave out --backend for one on features",
            key="backend",
        )
    absent = _absent_features(tracks, pairs) if isinstance(tracks, FolderTracks) else {}
    there = [pair for pair in pairs if pair.name not in absent]
    if not there:
        raise NarravidError(
            f"there are features of none of {len(pairs)} clips: {next(iter(absent.values()))}"
        )
    embedded = embed_feature_pairs(
        model,
        there,
        tracks,
        max_bad_share=session.max_bad_share,
        text=protocol.text,
        dtype=session.dtype,
    )
    missing = tuple(
        MissingPair(RetrievalPair(pair.name, pair.text, pair.span), absent[pair.name])
        for pair in pairs
        if pair.name in absent
    )
    return replace(embedded, missing=missing + embedded.missing)


def _absent_features(tracks: FolderTracks, pairs: Sequence[FeaturePair]) -> dict[str, str]:
    """Why there are no features of some names; damaged files are not among them."""
    absent = {}
    for name in dict.fromkeys(pair.name for pair in pairs):
        try:
            paths = [folder.path_of(name) for folder in tracks.folders]
        except DecodeError as error:
            absent[name] = error.reason
            continue
        missing = next((path for path in paths if not path.is_file()), None)
        if missing is not None:
            absent[name] = f"there is no feature file {missing}"
    return absent


def _files_by_name(listed: Sequence[ListedPair], videos: Path) -> dict[str, str]:
    found = zip(listed, locate_videos(videos, listed).paths, strict=True)
    return {pair.name: str(path) for pair, path in found if path is not None}


def _refuse_features_model(session: EvaluationSession) -> None:
    if isinstance(session.model, FeatureDualEncoder):
        raise ConfigError(
            f"{session.model_name} works on extracted features of "
            f"{' and '.join(session.model.feature_spec.extractors)}: name their folders with --features",
            key="features",
        )
