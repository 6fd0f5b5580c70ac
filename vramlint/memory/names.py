"""Names of language models as people write them: what two spellings share when they mean one shape."""

from __future__ import annotations

import re

from vramlint.patterns import later

_STORAGE = later(
    r"[-_. ](unsloth[-_]bnb[-_]4bit|bnb[-_][48]bit|bnb|[48]bit|gptq([-_]int[348])?|awq([-_]int4)?|gguf|exl[23]|hf|mlx"
    r"|int[48]|fp8(-dynamic|-block)?|fp16|bf16|nf4|mxfp4|nvfp4|w[48]a(8|16)|quantized(\.w[48]a(8|16))?|dynamic|safetensors"
    r"|q[2-8](_[0-9k](_[sml])?)?|qat|float16)$"
)
"""Words at the end of a repository's name that change its storage, not its shape."""

_QUANTISED = later(
    r"[-_. ](?:(bnb|nf4|4bit)|(gptq|awq|gguf|exl[23]|8bit|int[48]|fp8|mxfp4|nvfp4|w[48]a(?:8|16)|q[2-8]_\w+))"
    r"(?![a-z])"
)
"""Words for weights that are stored quantised: by bitsandbytes in four bits, or in another way."""

_ROLE = later(r"[-_. ](instruct|chat|it|base|pt)$")
"""Words that say how a checkpoint was trained on from one shape."""


def key_of(name: str) -> str:
    """The last part of a name as words and whole numbers, storage words taken off.

    ``unsloth/llama-3-8b-bnb-4bit``, ``Meta-Llama-3-8B`` and ``llama3-8B`` all become ``llama-3-8-b``; numbers keep
    their digits together, so ``Qwen2-57B`` and ``Qwen2.5-7B`` stay apart.
    """
    return _words(_without(_STORAGE, last_of(name)))


def plain_key_of(name: str) -> str:
    """:func:`key_of` without the words of a role: ``Llama-3.1-8B-Instruct`` and ``Llama-3.1-8B`` share it."""
    last = _without(_STORAGE, last_of(name))
    return _words(_without(_STORAGE, _without(_ROLE, last)))


def last_of(name: str) -> str:
    """The last part of a name or path in lower case, of a hub cache's folder the repository's."""
    last = name.strip().rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
    snapshot = re.search(r"models--[\w.-]+--([\w.-]+)/snapshots/", name.replace("\\", "/"))
    return (snapshot[1] if snapshot else last).lower()


def _without(pattern: re.Pattern[str], name: str) -> str:
    while (shorter := pattern.sub("", name)) != name:
        name = shorter
    return name


def _words(name: str) -> str:
    words = re.findall(r"[a-z]+|[0-9]+", name)
    if words[:2] == ["meta", "llama"]:
        words = words[1:]
    return "-".join(words)


def quantised_by(name: str) -> str:
    """How the checkpoint called ``name`` stores its weights: ``nf4``, another word of its name, "" where plain."""
    last = last_of(name)
    found = _QUANTISED.search(last)
    if found is None:
        return ""
    return found[2] or ("8bit" if "8bit" in last else "nf4")
