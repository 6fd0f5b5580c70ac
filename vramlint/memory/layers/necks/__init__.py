"""Necks: ``(build, config) -> (list of maps -> list of maps)``."""
