"""Who made what is published, and what must be said before some of it is downloaded."""

from __future__ import annotations

__all__ = [
    "HAN_TAN",
    "HARA_RESNET3D",
    "HE_RESNET",
    "KO_VT_TWINS",
    "LI_CPD",
    "MIECH_HOWTO100M",
    "MIECH_MIL_NCE",
    "NOT_COMMERCIAL",
    "NO_LICENCE",
    "RADFORD_CLIP",
    "SANH_DISTILBERT",
    "WANG_INTERNVID",
]

MIECH_HOWTO100M = (
    "Miech, Zhukov, Alayrac, Tapaswi, Laptev, Sivic: HowTo100M: Learning a Text-Video Embedding by Watching "
    "Hundred Million Narrated Video Clips. ICCV 2019, arXiv 1906.03327"
)
MIECH_MIL_NCE = (
    "Miech, Alayrac, Smaira, Laptev, Sivic, Zisserman: End-to-End Learning of Visual Representations from "
    "Uncurated Instructional Videos. CVPR 2020, arXiv 1912.06430"
)
HAN_TAN = "Han, Xie, Zisserman: Temporal Alignment Networks for Long-term Video. CVPR 2022, arXiv 2204.02968"
KO_VT_TWINS = (
    "Ko, Choi, Ko, Noh, On, Kim, Kim: Video-Text Representation Learning via Differentiable Weak Temporal "
    "Alignment. CVPR 2022"
)
LI_CPD = "Li, Wang: Learning Spatiotemporal Features via Video and Text Pair Discrimination. arXiv 2001.05691"
WANG_INTERNVID = (
    "Wang et al.: InternVid: A Large-scale Video-Text Dataset for Multimodal Understanding and Generation. "
    "ICLR 2024, arXiv 2307.06942"
)
HE_RESNET = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016, arXiv 1512.03385"
HARA_RESNET3D = (
    "Hara, Kataoka, Satoh: Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet? CVPR "
    "2018, arXiv 1711.09577"
)
RADFORD_CLIP = (
    "Radford et al.: Learning Transferable Visual Models From Natural Language Supervision. ICML 2021, "
    "arXiv 2103.00020"
)
SANH_DISTILBERT = (
    "Sanh, Debut, Chaumond, Wolf: DistilBERT, a distilled version of BERT. 2019, arXiv 1910.01108"
)

NOT_COMMERCIAL = (
    "its licence, CC-BY-NC-SA-4.0, allows no commercial use, and what is made of it must be shared alike"
)
NO_LICENCE = (
    "its authors state no licence, so nobody has been given the right to use or pass on these weights"
)
