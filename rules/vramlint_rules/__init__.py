"""The rules that ship with vramlint: the first plugin of its own plugin interface."""
