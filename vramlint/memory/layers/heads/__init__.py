"""Heads by task."""
