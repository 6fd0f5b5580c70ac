"""Transformers worked out block by block from their ``config.json``: encoders, encoder-decoders, towers.

Each module follows one family's ``forward`` on the tape of ``vramlint.memory.layers``, so that any batch, length,
precision, adapter and way of checkpointing has its own step. Of a stack of equal blocks three are run
(``stepping.Run.stack``); the others add what the middle one added.
"""
