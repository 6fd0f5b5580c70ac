"""Losses by ``type``, each from a head's output at the size of the labels."""
