"""Settings of the detector family, one class a size."""

from typing import Literal

from pydantic import BaseModel


class ModelConfig(BaseModel):
    encoder: Literal["dinov2_windowed_small", "dinov2_windowed_base"] = "dinov2_windowed_small"
    hidden_dim: int = 256
    resolution: int = 560
    num_queries: int = 300
    amp: bool = True
    gradient_checkpointing: bool = False


class RFDETRNanoConfig(ModelConfig):
    resolution: int = 384


class RFDETRBaseConfig(ModelConfig):
    encoder: Literal["dinov2_windowed_small", "dinov2_windowed_base"] = "dinov2_windowed_base"
    resolution: int = 560


class TrainConfig(BaseModel):
    lr: float = 1e-4
    batch_size: int = 4
    grad_accum_steps: int = 4
    epochs: int = 100
    multi_scale: bool = True
    num_workers: int = 2
