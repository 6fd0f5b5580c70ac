"""Optimizers known by name alone, each with its states per element.

All were measured: three real steps on the CPU of every name that timm 1.0.31 ``list_optimizers()`` and
pytorch_optimizer 4.1.0 ``get_supported_optimizers()`` give, with their defaults, on matrices of four shapes and a
vector, in fp32; listed are those whose states are a whole number per element of all of them (row and column statistics
left out).
``tests/memory/test_optimizer_steps.py`` takes the steps again. Names that the two libraries give different states are
timm's, and so are ``c`` before and ``c`` or ``w`` behind a name (cautious, corrected and decoupled weight decay).
"""

from __future__ import annotations

import re

_STATES: dict[int, str] = {
    0: "adalite amos emofact fromage pid racs rose scionlight",
    1: "accsgd bcos emolynx gravity larc lars nlarc nlars novograd qhm scion sgdp sgdsai signsgd tiger",
    2: (
        "a2grad adabelief adabound adadelta adagc adamax adamuon adanorm adashift adopt aida ano avagrad dadaptlion "
        "dualadam emonavi exadam fadam focus ftrl grams kate lamb laprop magma msvag nadamuon padam pnm qhadam "
        "radabelief rmsproptf simplifiedademamix srmm stablespam swats tam yogi"
    ),
    3: (
        "adai adamg adamod adatam aggmo apollodqn dadaptadagrad dadaptadam dadaptsgd diffgrad grokfastadamw madgrad "
        "mars ranger vsgd"
    ),
    4: "adan adapnm adasmooth",
    5: "dadaptadan",
}

STATES: dict[str, int] = {name: states for states, names in _STATES.items() for name in names.split()}


def states_by_name(name: str) -> int | None:
    """States per element of the optimizer called ``name``, in any case and with or without dashes; None if unknown."""
    word = re.sub(r"[^a-z0-9]+", "", name.lower().rsplit(".", 1)[-1])
    if word in STATES:
        return STATES[word]
    variants = {word.removeprefix("c"), word.rstrip("cw"), word.removeprefix("c").rstrip("cw")}
    found = {STATES[variant] for variant in variants if variant in STATES}
    return found.pop() if len(found) == 1 else None
