"""Models that people call by a name alone: the ledger's trees for torchvision, smp, U-Nets and YOLO."""
