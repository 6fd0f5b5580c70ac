"""Self-supervised pre-training; the import below chooses the settings."""

from src.config_broken import Config


def main() -> None:
    config = Config()
    print(f"MoCo v3 with a queue of {config.queue_size} keys, batch {config.batch_size} per GPU")


if __name__ == "__main__":
    main()
