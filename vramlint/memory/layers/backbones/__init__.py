"""Backbones by family: ``(build, config) -> (image tensor -> list of maps)``."""
