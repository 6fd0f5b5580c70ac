"""Learns from real runs: what trainers print of their memory, and what the driver says while a command runs.

Free of torch. What is found becomes an observation (``vramlint.memory.observations``), which later estimates use.
"""
