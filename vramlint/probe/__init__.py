"""Measures real runs: a CUDA card and what training steps need on it, and the memory of any command's own run.

Nothing here imports torch but ``cuda`` and ``workloads``; the card is behind :class:`vramlint.probe.backend.Backend`.
"""
