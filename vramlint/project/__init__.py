"""The project around a file: which files there are, its settings, and which files make one run together."""
