"""Which loader reads the files of each dialect, where that decides more than a scalar's value.

Sources: LLaMA-Factory 0.9.5 ``hparams/parser.py#read_args``, torchtune 0.6.1 ``config/_parse.py``, NeMo, verl, fairseq,
llm-foundry and DINOv2 (OmegaConf 2.3: ``_utils.py#get_yaml_loader`` raises on a key that stands twice); SpeechBrain
1.0 (HyperPyYAML 1.2.3 on ruamel.yaml, which raises DuplicateKeyError); DeepSpeed 0.19.6
``runtime/config_utils.py#dict_raise_error_on_duplicate_keys``. Every other dialect's YAML goes through PyYAML and every
other JSON through ``json.load``: both keep the last.
"""

from __future__ import annotations

from vramlint.sources.model import Syntax

_REFUSING = {
    Syntax.YAML: frozenset(
        (
            "llamafactory",
            "torchtune",
            "nemo",
            "verl",
            "fairseq",
            "llm_foundry",
            "dinov2",
            "hydra",
            "hydra_template",
            "speechbrain",
        )
    ),
    Syntax.JSON: frozenset(("deepspeed",)),
}


def refuses_duplicates(dialect: str, syntax: Syntax) -> bool:
    """Whether the framework stops at a key that stands twice in one mapping."""
    return dialect in _REFUSING.get(syntax, ())
