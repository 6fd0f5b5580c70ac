"""Repairs: what to change (``solver``), as edits (``edits``), proven (``proof``), to a fixpoint (``loop``), on disk (``write``)."""
