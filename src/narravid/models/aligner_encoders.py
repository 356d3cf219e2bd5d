"""The two transformers of the temporal aligner, and what lies before and behind them."""

from __future__ import annotations

import torch
from torch import nn

from narravid.models.aligner_config import TemporalAlignerConfig
from narravid.models.positions import draw_position_start, position_rows, sine_positions
from narravid.models.transformer import Transformer

__all__ = ["AlignerEncoders", "Masks"]

Masks = tuple[torch.Tensor | None, torch.Tensor | None]
"""Of the seconds (B, T) and of the sentences (B, N): bool, True for what is real; None when all is."""

INITIAL_STD = 0.01
"""Deviation of the published initial values of projections, positions and head."""


class AlignerEncoders(nn.Module):
    """Features and sentence embeddings to the outputs of every layer of the dual and the joint encoder.

    Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968, section 3.
    Shapes: B videos, T seconds, N sentences, S layers, D `embed_dim`.

    Args:
        config: Shapes and settings.
    """

    def __init__(self, config: TemporalAlignerConfig) -> None:
        super().__init__()
        self.config = config
        dim, heads = config.embed_dim, config.num_heads
        self.video_projection = nn.Linear(config.feature_spec.feature_dim, dim, bias=False)
        self.text_projection = nn.Linear(config.text.embed_dim, dim, bias=False)
        self.video_norm = nn.LayerNorm(dim)
        self.text_norm = nn.LayerNorm(dim)
        self.position_norm = nn.LayerNorm(dim)
        self.video_positions: torch.Tensor
        if config.positions == "sine":
            self.register_buffer("video_positions", sine_positions(config.max_positions, dim))
        else:
            self.video_positions = nn.Parameter(torch.empty(config.max_positions, dim))
        self.text_positions = (
            nn.Parameter(torch.empty(config.max_positions, dim)) if config.text_positions else None
        )
        self.video_encoder = Transformer(dim, num_layers=config.num_encoder_layers, num_heads=heads)
        self.joint_encoder = Transformer(dim, num_layers=config.num_joint_layers, num_heads=heads)
        self.video_final_norm = nn.LayerNorm(dim)
        self.joint_final_norm = nn.LayerNorm(dim)
        self.alignability_head = nn.Linear(dim, 1) if config.alignability_head else None
        self._initialise()

    def _initialise(self) -> None:
        drawn = [self.video_projection.weight, self.text_projection.weight]
        if self.config.positions == "learned":
            drawn.append(self.video_positions)
        if self.text_positions is not None:
            drawn.append(self.text_positions)
        if self.alignability_head is not None:
            drawn.append(self.alignability_head.weight)
            nn.init.zeros_(self.alignability_head.bias)
        for parameter in drawn:
            nn.init.normal_(parameter, std=INITIAL_STD)

    def tokens(
        self,
        features: torch.Tensor,
        text: torch.Tensor,
        *,
        stretch: int | tuple[int, int] | None = None,
        starts: tuple[int, int] = (0, 0),
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the encoders work on.

        Args:
            features: (B, T, F) floating point.
            text: (B, N, E) floating point.
            stretch: How many positions to stretch over all seconds, or over all seconds and all sentences;
                None gives each one its own.
            starts: The first position of the seconds and that of the sentences.

        Returns:
            Seconds with their positions (B, T, D); sentences without (B, N, D); sentences as the joint
            encoder sees them (B, N, D).

        Raises:
            ValueError: If shapes or dtypes do not fit, or there are more seconds than positions.
        """
        self._check_inputs(features, text)
        stretch_video, stretch_text = stretch if isinstance(stretch, tuple) else (stretch, None)
        weight = self.video_projection.weight
        seconds = self.video_norm(self.video_projection(features.to(weight)))
        sentences = self.text_norm(self.text_projection(text.to(weight)))
        seconds = seconds + self._places(self.video_positions, seconds.shape[1], stretch_video, starts[0])
        if self.text_positions is None:
            return seconds, sentences, sentences
        placed = sentences + self._places(self.text_positions, sentences.shape[1], stretch_text, starts[1])
        return seconds, sentences, placed

    def dual(self, seconds: torch.Tensor, *, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Seconds (B, T, D) that see each other, to (B, S, T, D)."""
        return self.video_encoder.layer_outputs(seconds, final_norm=self.video_final_norm, key_mask=mask)

    def joint(
        self, seconds: torch.Tensor, sentences: torch.Tensor, *, masks: Masks = (None, None)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, D) seconds and (B, N, D) sentences that see each other, to (B, S, T, D) and (B, S, N, D)."""
        mask = None
        if masks[0] is not None or masks[1] is not None:
            parts = zip((seconds, sentences), masks, strict=True)
            mask = torch.cat([_all_real(tokens) if own is None else own for tokens, own in parts], dim=1)
        outputs = self.joint_encoder.layer_outputs(
            torch.cat((seconds, sentences), dim=1), final_norm=self.joint_final_norm, key_mask=mask
        )
        num_seconds = seconds.shape[1]
        return outputs[:, :, :num_seconds], outputs[:, :, num_seconds:]

    def alignability(
        self, sentences: torch.Tensor, joint_sentences: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
        """Logits of sentences before the joint encoder and in all its layers; none without the head.

        Args:
            sentences: (B, N, D).
            joint_sentences: (B, S, N, D).

        Returns:
            (B, N) and (B, S, N) float32.
        """
        head = self.alignability_head
        if head is None:
            return None, None
        return _logits(head(sentences)), _logits(head(joint_sentences))

    def draw_starts(
        self, num_seconds: int, num_sentences: int, *, generator: torch.Generator
    ) -> tuple[int, int]:
        """Random first positions of the seconds and, where they have positions, of the sentences."""
        first_second = draw_position_start(num_seconds, len(self.video_positions), generator=generator)
        if self.text_positions is None:
            return first_second, 0
        return first_second, draw_position_start(num_sentences, len(self.text_positions), generator=generator)

    def _places(self, table: torch.Tensor, length: int, stretch: int | None, start: int) -> torch.Tensor:
        rows = position_rows(table, length, start=start, interpolate_from=stretch)
        places: torch.Tensor = self.position_norm(rows)
        return places

    def _check_inputs(self, features: torch.Tensor, text: torch.Tensor) -> None:
        sizes = (self.config.feature_spec.feature_dim, self.config.text.embed_dim)
        for name, tensor, size in zip(("features", "text"), (features, text), sizes, strict=True):
            if tensor.ndim != 3 or tensor.shape[2] != size or not tensor.is_floating_point():
                raise ValueError(
                    f"{name} must be (B, steps, {size}) floating point, got {tuple(tensor.shape)} "
                    f"{tensor.dtype}"
                )
        if features.shape[0] != text.shape[0] or features.shape[1] == 0:
            raise ValueError(
                "features and text must be of the same videos, and those at least a second long, "
                f"got {tuple(features.shape)} and {tuple(text.shape)}"
            )


def _all_real(tokens: torch.Tensor) -> torch.Tensor:
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


def _logits(column: torch.Tensor) -> torch.Tensor:
    return column.squeeze(-1).to(torch.promote_types(column.dtype, torch.float32))
