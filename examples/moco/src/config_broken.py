"""A larger batch, the queue forgotten."""


class Config:
    # data
    data_root: str = "/data/tiles"
    image_size: int = 224
    num_workers: int = 4

    # model
    backbone: str = "resnet50"
    proj_dim: int = 256
    queue_size: int = 65536
    momentum: float = 0.99

    # optimisation
    batch_size: int = 96  # per GPU
    gradient_accumulation_steps: int = 4
    learning_rate: float = 1.5e-4
    epochs: int = 200
    use_amp: bool = True
    use_grad_checkpointing: bool = True
