"""3D detection on the Ultralytics engine: a thin command line over ``YOLO(...).train(...)``."""

import argparse


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train")
    train.add_argument("--model", default="s", choices=["n", "s", "m", "l", "x"], help="size of YOLOv12")
    train.add_argument("--data", required=True)
    train.add_argument("--imgsz", type=int, default=640)
    train.add_argument("--batch", type=int, default=16)
    train.add_argument("--nbs", type=int, default=64, help="nominal batch that accumulation aims at")
    train.add_argument("--epochs", type=int, default=100)
    train.add_argument("--device", default="0")
    return parser.parse_args()


def main() -> None:
    from ultralytics import YOLO

    args = parse_args()
    model = YOLO(f"yolo12{args.model}.yaml")
    model.train(
        data=args.data, imgsz=args.imgsz, batch=args.batch, nbs=args.nbs, epochs=args.epochs, device=args.device
    )


if __name__ == "__main__":
    main()
