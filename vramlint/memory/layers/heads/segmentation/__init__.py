"""Decode heads of mmsegmentation; each is a :class:`DecodeHead`."""
