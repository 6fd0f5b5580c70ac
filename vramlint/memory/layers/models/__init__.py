"""Whole models: ``(build, config) -> Model``."""
