"""What a run changes in a network before it trains it; weights and their names stay as they are."""

from __future__ import annotations

from torch import nn

from narravid import distributed
from narravid.errors import ConfigError
from narravid.models.activation_checkpointing import checkpoint_activations
from narravid.models.frozen_batch_norm import freeze_batch_norm
from narravid.training.config import TrainerConfig

__all__ = ["prepare_network"]


def prepare_network(network: nn.Module, config: TrainerConfig) -> None:
    """Freeze or synchronise batch normalisation and save memory, as the settings say.

    Args:
        network: The task with all that it trains, on its device.
        config: The settings.

    Raises:
        ConfigError: If batch normalisation is to be synchronised where PyTorch cannot, or activations are
            to be computed again where none can be.
    """
    if config.batch_norm == "frozen":
        freeze_batch_norm(network)
    if config.batch_norm == "synchronised" and distributed.world_size() > 1:
        device = next(network.parameters()).device
        if device.type != "cuda":
            raise ConfigError(
                f"batch_norm synchronised works between CUDA devices only, this run is on {device}; set"
                " --trainer.batch-norm own or frozen",
                key="trainer.batch_norm",
            )
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    if config.activation_checkpointing and config.compile:
        raise ConfigError(
            "activation_checkpointing does nothing in a compiled network; leave it or compile off",
            key="trainer.activation_checkpointing",
        )
    if config.activation_checkpointing and checkpoint_activations(network) == 0:
        raise ConfigError(
            "activation_checkpointing: this network has no blocks that it is known to work for; leave it off",
            key="trainer.activation_checkpointing",
        )
