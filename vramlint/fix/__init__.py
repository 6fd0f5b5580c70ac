"""Repairs: what to change (``solver``), as edits, proven, to a fixpoint (``loop``), written or shown as a diff."""
