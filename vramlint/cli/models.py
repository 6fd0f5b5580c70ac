"""``vramlint models``: the models whose memory is known by name, with where the knowledge comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from vramlint.cli.main import CLEAN
from vramlint.cli.shared import view, write
from vramlint.errors import UsageError

if TYPE_CHECKING:
    from vramlint.memory.denoiser import Denoiser
    from vramlint.memory.networks.knowledge import Network


class KnownModel(NamedTuple):
    """One model: ``knowledge`` is ``profile``, ``shape``, ``layers`` or ``config``.

    ``source`` says where it was read or traced.
    """

    name: str
    knowledge: str
    parameters: int
    described: str
    source: str


@click.command("models")
@click.argument("query", nargs=-1, metavar="[QUERY]...")
@click.option("--output-format", type=click.Choice(("text", "json")), default="text", show_default=True)
def command(query: tuple[str, ...], output_format: str) -> int:
    """List the models whose memory is known by name: traced profiles, vision models by their layers, LLMs by shape.

    With QUERY, those whose name holds its words, and first the one that a config with that very name gets.
    """
    found = list(_known(" ".join(query)))
    if output_format == "json":
        from vramlint.report.json import dump

        write(dump({"schema": "vramlint.models/1", "models": [model._asdict() for model in found]}))
        return CLEAN
    if query and not found:
        raise UsageError(
            f"no model known by the name {' '.join(query)!r}",
            help="A folder with a config.json, `vramlint trace` or [[tool.vramlint.models]] make one known.",
        )
    write("\n".join(_lines(found)) + "\n")
    return CLEAN


def _lines(found: list[KnownModel]) -> Iterator[str]:
    shown = view()
    width = min(max((len(model.name) for model in found), default=0), 48)
    for model in found:
        size = f"{model.parameters / 1e9:.2f} B" if model.parameters >= 1e9 else f"{model.parameters / 1e6:.1f} M"
        yield f"{model.name:<{width}} {size:>10}  {model.described}  {shown.dim(model.source)}"
    yield shown.dim(f"{len(found)} model{'' if len(found) == 1 else 's'}")


def _known(query: str) -> Iterator[KnownModel]:
    """The models that ``query`` asks for, all without one; what it stands for by itself first."""
    from vramlint.memory.catalogue import decoders
    from vramlint.memory.diffusion import denoisers
    from vramlint.memory.layers.named.catalogue import names as layered
    from vramlint.memory.networks.catalogue import networks
    from vramlint.memory.profile_catalogue import find_profile, profiles

    exact = _exact(query)
    if exact is not None:
        yield exact
    words = [_plain(word) for word in query.split()]
    for name in profiles():
        if _matches(name, words) and (exact is None or name != exact.name):
            profile = find_profile(name)
            if profile is not None:
                made = profile.source.partition("(")[2].rstrip(")")
                yield KnownModel(name, "profile", profile.parameters, "traced profile", made)
    for name in layered():
        if _matches(name, words) and find_profile(name) is None and (exact is None or name != exact.name):
            yield _layers(name)
    for denoiser in denoisers():
        if _matches(denoiser.name, words) and (exact is None or denoiser.name != exact.name):
            yield _diffusion(denoiser)
    configs = [*map(_blocks, networks()), *(_decoder(one.name) for one in decoders() if _matches(one.name, words))]
    yield from (one for one in configs if _matches(one.name, words) and (exact is None or one.name != exact.name))


def _exact(query: str) -> KnownModel | None:
    """What a config whose model is called ``query`` gets."""
    from vramlint.memory.catalogue import find_decoder
    from vramlint.memory.diffusion import find_denoiser
    from vramlint.memory.layers.named.catalogue import find_named
    from vramlint.memory.networks.catalogue import find_network
    from vramlint.memory.profile_catalogue import find_profile

    if not query:
        return None
    network = find_network(query)
    if network is not None:
        return _blocks(network)
    profile = find_profile(query)
    if profile is not None:
        made = profile.source.partition("(")[2].rstrip(")")
        return KnownModel(profile.name, "profile", profile.parameters, "traced profile", made)
    named = find_named(query)
    if named is not None:
        return _layers(named.name)
    decoder = find_decoder(query)
    if decoder is not None:
        return _decoder(decoder.name)
    denoiser = find_denoiser(query)
    return None if denoiser is None else _diffusion(denoiser)


def _blocks(network: Network) -> KnownModel:
    """A transformer that is worked out from its config, whole or behind adapters."""
    kind = network.config["model_type"]
    return KnownModel(network.name, "config", network.parameters, f"{kind}, worked out block by block", network.read_in)


def _layers(name: str) -> KnownModel:
    """A vision model that the layer ledger builds from its name."""
    from vramlint.memory.named_models import find_ledger

    ledger = find_ledger(name)
    assert ledger is not None
    return KnownModel(
        name, "layers", ledger.parameters, "worked out from its layers", "; ".join(ledger.assumptions[1:])
    )


def _diffusion(denoiser: Denoiser) -> KnownModel:
    text = "traced diffusion denoiser, whole or through LoRA" if denoiser.ways else "diffusion denoiser, size alone"
    return KnownModel(denoiser.name, "profile", denoiser.parameters, text, denoiser.made)


def _decoder(name: str) -> KnownModel:
    from vramlint.memory.catalogue import find_decoder

    one = find_decoder(name)
    assert one is not None
    shape, experts = one.config.shape, one.config.experts
    parts = [f"{shape.layers} layers of {shape.hidden}, vocabulary {shape.vocabulary:,}"]
    if experts is not None:
        parts.append(f"{experts.number} experts, {experts.per_token} a token")
    if one.config.latent is not None:
        parts.append("latent attention")
    if one.tower is not None:
        parts.append(f"vision tower of {one.tower.parameters / 1e6:.0f} M")
    return KnownModel(name, "shape", one.parameters, ", ".join(parts), one.source)


def _matches(name: str, words: list[str]) -> bool:
    plain = _plain(name)
    return all(word in plain for word in words)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "", text.lower())
