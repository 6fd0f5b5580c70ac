"""Train the segmentation stage."""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="nano", choices=["nano", "small", "base", "medium", "large"])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--accum", type=int, default=4)
    parser.add_argument("--resolution", type=int, default=None)
    parser.add_argument("--multi_scale", type=int, choices=[0, 1], default=0)
    parser.add_argument("--num_queries", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    print(parse_args())
