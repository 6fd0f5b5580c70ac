"""Heads of detectors and instance segmentors (mmdet 2 and 3)."""
