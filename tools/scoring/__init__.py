"""The parts of ``tools/score_memory.py``: rows to plans, predictions, baselines, statistics."""
