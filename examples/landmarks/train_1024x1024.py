"""Train a landmark detector on 1024 x 1024 crops."""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset_path", required=True)
    parser.add_argument("--model", default="hrnet", choices=["hrnet", "resnet50"])
    parser.add_argument("--image_size", type=int, nargs=2, default=[1024, 1024])
    parser.add_argument("--batch_size", type=int, default=2, help="per GPU")
    parser.add_argument("--gradient_accumulation_steps", type=int, default=4)
    parser.add_argument("--num_workers", type=int, default=4)
    parser.add_argument("--prefetch_factor", type=int, default=2)
    parser.add_argument("--pin_memory", type=lambda text: text == "True", default=True)
    parser.add_argument("--mixed_precision", action="store_true")
    parser.add_argument("--use_ema", action="store_true")
    parser.add_argument("--use_ddp", action="store_true")
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--epochs", type=int, default=60)
    return parser.parse_args()


if __name__ == "__main__":
    print(parse_args())
