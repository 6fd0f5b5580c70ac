"""ms-swift on Megatron-Core: ``megatron sft``, ``pt`` and ``rlhf``, with Megatron-LM's flags spelled with underscores.

The global batch is what accumulation aims at, as in Megatron-LM; ``NPROC_PER_NODE`` starts the ranks, as in ms-swift::

    accumulation = --global_batch_size / (--micro_batch_size x data-parallel ranks), a remainder is refused

Example (``lora.sh``):

```shell
NPROC_PER_NODE=4 megatron sft --model Qwen/Qwen2.5-7B-Instruct --tuner_type lora --tensor_model_parallel_size 2 \\
    --micro_batch_size 4 --global_batch_size 16 --max_length 2048
```

```plan
micro_batch: 4 launch 2
world_size: 4 launch 1
data_parallel: 2 derived
accumulation: 2 derived
effective_batch: 16 derived
```

Its models are bridged from Hugging Face's, may be adapted, and have defaults of their own: memory stays UNKNOWN.

Sources: ms-swift 4.6 (2026-08), ``swift/megatron/arguments/megatron_args.py`` (flags), ``swift/cli/main.py`` (ranks).
"""

from __future__ import annotations

from vramlint.dialects import megatron
from vramlint.dialects.model import Claim, Context, Reading
from vramlint.plan import unknown
from vramlint.sources.model import Document

NAME = "swift_megatron"
TITLE = "ms-swift on Megatron-Core"


def read(claim: Claim, document: Document, context: Context) -> Reading:
    """The plan of one command."""
    reading = megatron.read(claim, document, context)
    plan = reading.plan
    plan.model = unknown("the memory of ms-swift on Megatron-Core is not worked out", plan.model.location)
    plan.model_shape = unknown("its model is bridged from Hugging Face's")
    return reading
