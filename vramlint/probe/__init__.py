"""Measures a real CUDA card: what a context takes, what is usable, and what training steps really need.

Nothing here imports torch; the card is behind :class:`vramlint.probe.backend.Backend`.
"""
