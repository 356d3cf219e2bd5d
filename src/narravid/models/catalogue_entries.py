"""The table of published names. No address could be tried when it was written; sizes identify files.

Licences are those of the publisher's code, "(code)", unless the weights name their own. Only torchvision
gives hashes, whose beginning is in the file name; the tokenizers' hashes are of the copies in wide use.
"""

from __future__ import annotations

from narravid.errors import ConfigError
from narravid.models.catalogue import Address, Entry, PublishedItem
from narravid.models.catalogue_credits import (
    HAN_TAN,
    HARA_RESNET3D,
    HE_RESNET,
    KO_VT_TWINS,
    LI_CPD,
    MIECH_HOWTO100M,
    MIECH_MIL_NCE,
    NO_LICENCE,
    NOT_COMMERCIAL,
    RADFORD_CLIP,
    SANH_DISTILBERT,
    WANG_INTERNVID,
)

__all__ = ["ENTRIES", "find_entry"]

INRIA = "https://www.rocq.inria.fr/cluster-willow/amiech"
ENS = "https://www.di.ens.fr/~miech/S3D_howto100m"
OXFORD = "https://www.robots.ox.ac.uk/~htd/tan"
OXFORD_PAGE = "https://www.robots.ox.ac.uk/~vgg/research/tan/index.html#htm-sentencify"

INRIA_DEAD_SINCE = "2024-06"
"""When users found `s3d_howto100m.pth` gone; of the other files on that server nothing is known."""

USERS_COPY = "a user's copy"


def _inria_s3d(file_name: str) -> tuple[Address, ...]:
    return (
        Address(f"{INRIA}/howto100m/{file_name}", dead_since=INRIA_DEAD_SINCE),
        Address(f"{ENS}/{file_name}", note="older"),
    )


def _viclip(size: str, letter: str) -> Entry:
    file_name = f"ViCLIP-{letter}_InternVid-FLT-10M.pth"
    return Entry(
        name=f"viclip-{letter.lower()}",
        kind="model",
        summary=f"ViCLIP-{letter}: CLIP ViT-{size} with a video tower, 8 frames",
        items=(PublishedItem(file_name, (Address(f"OpenGVLab/ViCLIP/{file_name}", "hugging_face"),)),),
        licence="CC-BY-NC-SA-4.0",
        citation=WANG_INTERNVID,
        licence_notice=NOT_COMMERCIAL,
        assets=("clip-byte-pairs",),
    )


_ALL = (
    Entry(
        name="s3d-howto100m",
        kind="model",
        summary="S3D text-video network, trained with MIL-NCE on HowTo100M",
        items=(
            PublishedItem(
                "s3d_howto100m.pth",
                (
                    *_inria_s3d("s3d_howto100m.pth"),
                    Address("1DN8t1feS0t5hYYTfXQfZd596Pu9yXJIr", "drive_file", note=USERS_COPY),
                ),
                num_bytes=125_031_128,
            ),
        ),
        licence="Apache-2.0 (code)",
        citation=MIECH_MIL_NCE,
        assets=("s3d-vocabulary",),
        note="converted by its author from the TensorFlow Hub module deepmind/mil-nce/s3d/1",
    ),
    Entry(
        name="s3d-vocabulary",
        kind="word list",
        summary="the 66,249 words of s3d-howto100m and tan-htm370k",
        items=(
            PublishedItem(
                "s3d_dict.npy",
                (
                    *_inria_s3d("s3d_dict.npy"),
                    Address("1p_CMGppAQk3B0_Z0i1r2AN_D1FM3kUFW", "drive_file", note=USERS_COPY),
                ),
                num_bytes=5_830_040,
            ),
        ),
        licence="Apache-2.0 (code)",
        citation=MIECH_MIL_NCE,
    ),
    Entry(
        name="milnce-word-vectors",
        kind="word vectors",
        summary="word list and word2vec vectors with which MIL-NCE training begins",
        items=(
            PublishedItem(
                "word2vec.zip", (Address(f"{INRIA}/word2vec.zip"),), members=("word2vec.pth", "dict.npy")
            ),
        ),
        licence="not stated",
        citation=MIECH_MIL_NCE,
    ),
    Entry(
        name="howto100m",
        kind="model",
        summary="HowTo100M joint embedding of 2D and 3D features and text, 6144 dimensions",
        items=(
            PublishedItem(
                "howto100m_pt_model.pth", (Address(f"{INRIA}/howto100m/models/howto100m_pt_model.pth"),)
            ),
        ),
        licence="Apache-2.0 (code)",
        citation=MIECH_HOWTO100M,
        assets=("milnce-word-vectors",),
        note="trained on word2vec's GoogleNews vectors; milnce-word-vectors holds those of its words",
    ),
    Entry(
        name="howto100m-evaluation-features",
        kind="features",
        summary="extracted features of MSR-VTT, YouCook2 and LSMDC",
        items=(PublishedItem("metadata_eval.zip", (Address(f"{INRIA}/howto100m/metadata_eval.zip"),)),),
        licence="Apache-2.0 (code)",
        citation=MIECH_HOWTO100M,
        note="an archive of pickles and .pth files: do not unpickle them",
    ),
    Entry(
        name="howto100m-captions",
        kind="annotations",
        summary="captions and video lists of HowTo100M",
        items=(
            PublishedItem("HowTo100M.zip", (Address(f"{INRIA}/howto100m/HowTo100M.zip"),)),
            PublishedItem("howto100m_captions.zip", (Address(f"{INRIA}/howto100m/howto100m_captions.zip"),)),
        ),
        licence="Apache-2.0 (code)",
        citation=MIECH_HOWTO100M,
        note="the videos are given out by a request form only, which users report unanswered",
    ),
    Entry(
        name="resnext101-kinetics",
        kind="model",
        summary="3-D ResNeXt-101 trained on Kinetics, HowTo100M's 3D features",
        items=(PublishedItem("resnext101.pth", (Address(f"{INRIA}/howto100m/models/resnext101.pth"),)),),
        licence="MIT",
        citation=HARA_RESNET3D,
    ),
    Entry(
        name="resnet152-imagenet",
        kind="model",
        summary="ResNet-152 trained on ImageNet (torchvision's first weights), HowTo100M's 2D features",
        items=(
            PublishedItem(
                "resnet152-b121ed2d.pth",
                (Address("https://download.pytorch.org/models/resnet152-b121ed2d.pth"),),
                sha256_start="b121ed2d",
            ),
        ),
        licence="BSD-3-Clause",
        citation=HE_RESNET,
    ),
    Entry(
        name="vt-twins",
        kind="model",
        summary="S3D text-video network of VT-TWINS, trained with soft-DTW on HowTo100M",
        items=(
            PublishedItem(
                "pretrained.pth.tar", (Address("16QH4C6Sr6ptGp-wEnVsAwZem-kp-uLkt", "drive_folder"),)
            ),
            PublishedItem("dict.npy", (Address("16QH4C6Sr6ptGp-wEnVsAwZem-kp-uLkt", "drive_folder"),)),
        ),
        licence="none stated",
        citation=KO_VT_TWINS,
        licence_notice=NO_LICENCE,
        note="the folder holds the weights, word vectors and the word list; give both files with --from",
    ),
    Entry(
        name="cpd-instagram300k",
        kind="model",
        summary="CPD: 3-D ResNet-50 and DistilBERT, trained on Instagram-300k",
        items=(
            PublishedItem(
                "cpd_instagram300k.pth.tar", (Address("1itG7_rdSMwVRmdiD9BJwkfzz1eV1AZ_i", "drive_file"),)
            ),
        ),
        licence="MIT (code)",
        citation=LI_CPD,
        assets=("bert-word-pieces",),
        note="the file name is Narravid's; the published one is not known",
    ),
    Entry(
        name="tan-htm370k",
        kind="model",
        summary="temporal alignment network, stage 2, 6 + 6 layers, trained on HTM-370K",
        items=(
            PublishedItem(
                "cotrain_word2vec_htm-370k_len64_e6d6.pth.tar",
                (Address(f"{OXFORD}/cotrain_word2vec_htm-370k_len64_e6d6.pth.tar"),),
            ),
        ),
        licence="MIT (code)",
        citation=HAN_TAN,
        assets=("s3d-vocabulary",),
    ),
    Entry(
        name="htm-aa",
        kind="annotations",
        summary="HTM-AA: sentences aligned to seconds of HowTo100M (vid, centre second, text)",
        items=(
            PublishedItem(
                "htm_aa_v1.csv",
                (
                    Address(f"{OXFORD}/htm_aa_v1.csv"),
                    Address("1_V2LfMil5wnWfxDkzBtSYCw7YUUSjzqE", "drive_file"),
                ),
                approximate_bytes=329_000_000,
            ),
        ),
        licence="MIT (code)",
        citation=HAN_TAN,
    ),
    Entry(
        name="htm-align",
        kind="annotations",
        summary="HTM-Align: 80 videos with aligned sentences, corrected in 2022-09",
        items=(
            PublishedItem(
                "htm_align.json", (Address(f"{OXFORD}/htm_align.json"),), approximate_bytes=616_000
            ),
        ),
        licence="MIT (code)",
        citation=HAN_TAN,
    ),
    Entry(
        name="htm-sentencified",
        kind="annotations",
        summary="speech of HTM-370K and HTM-1.2M as sentences",
        items=(PublishedItem("htm_sentencified.json", (Address(OXFORD_PAGE, "page"),)),),
        licence="MIT (code)",
        citation=HAN_TAN,
        note="several files; choose on the page, then give the one chosen with --from",
    ),
    _viclip("B/16", "B"),
    _viclip("L/14", "L"),
    Entry(
        name="clip-byte-pairs",
        kind="tokenizer",
        summary="CLIP's byte-pair merges",
        items=(
            PublishedItem(
                "bpe_simple_vocab_16e6.txt.gz",
                (Address("https://github.com/openai/CLIP/raw/main/clip/bpe_simple_vocab_16e6.txt.gz"),),
                num_bytes=1_356_917,
                sha256_start="924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
            ),
        ),
        licence="MIT",
        citation=RADFORD_CLIP,
    ),
    Entry(
        name="bert-word-pieces",
        kind="tokenizer",
        summary="lower-cased word pieces of BERT and DistilBERT",
        items=(
            PublishedItem(
                "bert-base-uncased-vocab.txt",
                (Address("distilbert/distilbert-base-uncased/vocab.txt", "hugging_face"),),
                num_bytes=231_508,
                sha256_start="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            ),
        ),
        licence="Apache-2.0",
        citation=SANH_DISTILBERT,
    ),
)

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in _ALL}
"""Every published name."""


def find_entry(name: str) -> Entry:
    """The entry of a published name.

    Raises:
        ConfigError: If there is none; proposes the nearest.
    """
    if name not in ENTRIES:
        raise ConfigError(
            f"unknown published name {name!r}; see `narravid models`", key=name, valid=ENTRIES.keys()
        )
    return ENTRIES[name]
