"""From a plan's model to what is known of its memory."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from vramlint.memory.architecture import DecoderConfig
from vramlint.memory.catalogue import NamedDecoder, find_decoder, find_related
from vramlint.memory.decoder import Decoder
from vramlint.memory.decoder_plan import decoder_of, spelled_config
from vramlint.memory.diffusion import find_denoiser, local_denoiser
from vramlint.memory.diffusion_plan import trained
from vramlint.memory.knowledge import ModelKnowledge, Resolution
from vramlint.memory.local_encoders import local_encoder
from vramlint.memory.local_models import local_decoder
from vramlint.memory.local_vision import local_vision
from vramlint.memory.masks import with_masks
from vramlint.memory.megatron import MegatronModel
from vramlint.memory.momentum import MomentumPair, OneSegment, Requeued
from vramlint.memory.named_models import NamedLedger, planned_ledger
from vramlint.memory.names import quantised_by
from vramlint.memory.networks.catalogue import find_network, local_network
from vramlint.memory.parallel import context_alone
from vramlint.memory.profile import OwnProfile, Profile, load_profile
from vramlint.memory.profile_catalogue import find_profile
from vramlint.plan import Fact, TrainingPlan, derived

if TYPE_CHECKING:
    from vramlint.memory.networks.knowledge import Network
    from vramlint.memory.user_models import UserModel

_FAMILIES: dict[str, tuple[str, ...]] = {
    "hrnet": ("hrnet_w32", "hrnet_w18", "hrnet_w48"),
    "resnet": ("resnet50", "resnet18", "resnet101"),
    "yolo12": ("yolo12s", "yolo12n", "yolo12m"),
    "yolov12": ("yolo12s", "yolo12n", "yolo12m"),
    **{f"yoloscale{scale}": (f"yolo12{scale}", f"yolo11{scale}", f"yolov8{scale}") for scale in "nsmlx"},
    "unet": ("unet", "unet_base32", "unet_resnet34", "attention_unet", "r2unet", "unetplusplus"),
}
"""Names that leave size or variant open: the usual member first, then others that people mean by it."""


def resolve(plan: TrainingPlan) -> Resolution:
    """What is known of the plan's model: a decoder by shape or name, a traced profile, a composition of profiles."""
    found = _resolved(plan)
    parallel = plan.fact("model_parallel").value
    if found.knowledge is None or not isinstance(parallel, int) or parallel == 1 or _splits(plan, found.knowledge):
        return found
    return Resolution(None, because=f"{found.knowledge.name} is split over {parallel} ranks, which is not worked out")


def _resolved(plan: TrainingPlan) -> Resolution:
    user: Fact[UserModel] | None = plan.extra.get("user_model")
    described = None if user is None or user.value is None else _described(plan, user.value)
    if described is not None:
        return described
    shape = plan.model_shape.value
    if shape is not None:
        given = plan.model.value or "a decoder of the given shape"
        config = spelled_config(plan, shape)
        return decoder_of(plan, given, config, "shape given in the config")
    name = plan.model.value or plan.fact("architecture_like").value
    return _nameless(plan) if name is None else _called(plan, name)


def _described(plan: TrainingPlan, user: UserModel) -> Resolution | None:
    """What the user's settings say of the model; None where they hold observations alone."""
    name = plan.model.value or user.match or user.path
    if user.counted is not None:
        return Resolution(user.counted._replace(name=name))
    if user.shape is not None:
        return decoder_of(plan, name, DecoderConfig(user.shape), f"shape in the {user}")
    if user.profile:
        from vramlint.memory.user_models import profile_data  # few settings describe models

        profile = load_profile(profile_data(user))
        return Resolution(profile, assumptions=profile.assumptions)
    if user.config:
        found = local_decoder(os.path.join(user.root, user.config), plan.path)
        if found is None:
            return Resolution(None, because=f"{user}: no decoder known in the folder {user.config}")
        return _named(plan, found, f"closed form, {found.source}")
    return _called(plan, user.like) if user.like else None


def _called(plan: TrainingPlan, name: str) -> Resolution:
    """What a name stands for: a folder of the repository, a profile, an entry of the catalogue."""
    own = plan.fact("own_profile").value
    if isinstance(own, OwnProfile) and own.profile is not None:
        return _own(own, own.profile)
    like = str(plan.fact("architecture_like").value or "")
    shaped = find_network(like)
    called = find_network(name) if shaped is None else shaped._replace(name=name)
    known = _in_folder(plan, name) or _network(plan, called)
    if known is not None:
        return known
    # No decoder has a profile. Its entry is looked up before the ledger's, whose modules take longer to import.
    decoder = None if _is_traced(plan, name) else find_decoder(name)
    if decoder is not None:
        return _as_stored(plan, name, decoder)
    found = _profile(plan, name)
    if found.knowledge is not None:
        return _self_supervised(plan, found)
    denoiser = find_denoiser(name)
    alike = _alike(plan, name) if denoiser is None else trained(plan, denoiser)
    if alike is not None:
        return alike
    related = find_related(name)
    return found if related is None else _fine_tune(plan, name, related)


def _alike(plan: TrainingPlan, name: str) -> Resolution | None:
    """A checkpoint of a denoiser that the config names by its family: the usual one of these, others bound it."""
    fact = plan.fact("architecture_like")
    named = [found for each in str(fact.value or "").split("|") if (found := find_denoiser(each)) is not None]
    members = [found for found in named if found.ways] or named[:1]
    if not members:
        return None
    first, *others = (trained(plan, member) for member in members)
    shown = name.rstrip("/").rpartition("/")[2]
    text = f"{shown} taken for {members[0].name} ({fact.note})" if shown != fact.value else ""
    bounds = tuple(other.knowledge for other in others if other.knowledge is not None)
    if bounds:
        text += f"; the interval spans {', '.join(member.name for member in members[1:])}"
    return first._replace(
        alternatives=(*first.alternatives, *bounds), assumptions=(*((text,) if text else ()), *first.assumptions)
    )


def _as_stored(plan: TrainingPlan, name: str, decoder: NamedDecoder) -> Resolution:
    """A catalogue's decoder; adapters on a checkpoint that is stored quantised train over quantised layers."""
    stored = quantised_by(name) if plan.adapter.value == "lora" else ""
    if stored == "nf4":
        plan = replace(plan, adapter=plan.adapter._replace(value="qlora"))
        if name.lower().startswith("unsloth/"):  # stores them so: unsloth 2026.10 models/loader.py, quantization_config
            plan = replace(plan, extra={**plan.extra, "double_quantization": derived(value=True, note="unsloth's")})
    elif stored:
        return Resolution(None, because=f"{name} is stored as {stored}, whose layers are not worked out")
    return _named(plan, decoder, f"closed form, shape from the catalogue ({decoder.source})")


def _network(plan: TrainingPlan, network: Network | None) -> Resolution | None:
    """A transformer worked out block by block, as the plan trains it."""
    if network is None:
        return None
    from vramlint.memory.networks.planned import planned_network  # most plans name no such model

    return planned_network(plan, network)


def _in_folder(plan: TrainingPlan, name: str) -> Resolution | None:
    """The model that a folder's config.json describes, None where there is no such folder or it is not known."""
    decoder = local_decoder(name, plan.path)
    if decoder is not None:
        return _named(plan, decoder, f"closed form, {decoder.source}")
    network = _network(plan, local_network(name, plan.path))
    if network is not None:
        return network
    encoder = local_encoder(name, plan.path)
    if encoder is not None:
        return Resolution(encoder, assumptions=encoder.assumptions)
    vision = local_vision(name, plan.path)
    if vision is not None:
        return with_masks(plan, vision)
    denoiser = local_denoiser(name, plan.path)
    return None if denoiser is None else trained(plan, denoiser)


def _fine_tune(plan: TrainingPlan, name: str, base: NamedDecoder) -> Resolution:
    """A model that its name says was made from a known one, whose shape it then has."""
    found = _named(plan, base, f"closed form, shape of {base.name} ({base.source})")
    text = f"{name.rstrip('/').rpartition('/')[2]} taken as a fine-tune of {base.name}, as its name says"
    return found._replace(assumptions=(text, *found.assumptions))


def _own(own: OwnProfile, profile: Profile) -> Resolution:
    """The repository's own trace of the model goes before everything shipped."""
    return Resolution(profile, assumptions=(f"profile {own.path}", *profile.assumptions))


def _named(plan: TrainingPlan, decoder: NamedDecoder, source: str) -> Resolution:
    """A decoder by name or from its folder, with the vision tower it has."""
    found = decoder_of(plan, decoder.name, decoder.config, source)
    text_alone = plan.fact("implementation").value == "torchtitan"  # models/llama4 has no vision tower
    if decoder.tower is None or text_alone or not isinstance(found.knowledge, Decoder):
        return found
    frozen = [each._replace(tower=decoder.tower) for each in _decoders(found)]
    text = f"vision tower of {decoder.tower.parameters:,} parameters taken as frozen, image tokens as part of a sample"
    if frozen[0].adapter is not None:
        return found._replace(
            knowledge=frozen[0], alternatives=tuple(frozen[1:]), assumptions=(*found.assumptions, text)
        )
    trained = frozen[0]._replace(tower_trains=True)
    text += "; the upper bound is for a trained one"
    return found._replace(
        knowledge=frozen[0], alternatives=(*frozen[1:], trained), assumptions=(*found.assumptions, text)
    )


def _decoders(found: Resolution) -> list[Decoder]:
    return [each for each in (found.knowledge, *found.alternatives) if isinstance(each, Decoder)]


def _nameless(plan: TrainingPlan) -> Resolution:
    """The model that the config itself spells out, layer by layer."""
    if not plan.fact("architecture").known:
        return Resolution(None, because=plan.model.note or "the config names no model")
    from vramlint.memory.layers import UnknownType, planned  # a model with a name never needs them

    try:
        found = planned.model_of(plan)
    except UnknownType as error:
        return Resolution(None, because=error.message)
    text = f"worked out layer by layer from the config, as {found.stack.name} runs it"
    return Resolution(found, assumptions=(text, *found.assumptions))


def _splits(plan: TrainingPlan, knowledge: ModelKnowledge) -> bool:
    """Whether the model's formula divides it, or sequences alone are divided."""
    divided = isinstance(knowledge, Decoder) and knowledge.division is not None
    return divided or isinstance(knowledge, MegatronModel) or context_alone(plan) > 1


def _is_traced(plan: TrainingPlan, name: str) -> bool:
    names = (*_FAMILIES.get(_plain(name), ()), *_spellings(name, plan.task.value))
    return any(find_profile(each) is not None for each in names)


def _profile(plan: TrainingPlan, name: str) -> Resolution:
    family = _FAMILIES.get(_plain(name), ())
    known = tuple(member for member in map(find_profile, family) if member is not None)
    if known:
        return _family(name, known)
    spellings = _spellings(name, plan.task.value)
    if plan.fact("implementation").value == "yolov5":
        spellings = (f"{name}-anchors", *spellings)  # the repository's own head, not the later package's
    for candidate in spellings:
        profile = find_profile(candidate)
        ledger = planned_ledger(candidate, plan, profile)
        if ledger is not None:
            return _from_ledger(plan, ledger)
        if profile is not None:
            return with_masks(plan, profile)
    return Resolution(None, because=f"nothing is known of the memory of a model called {name!r}")


_BESIDE_BOXES = {"segment": "masks", "pose": "keypoints", "obb": "angles", "classify": "classes"}
"""What a model of the task has that the detector of its generation has not."""


def _from_ledger(plan: TrainingPlan, ledger: NamedLedger) -> Resolution:
    """A model worked out from its name; a detector trained on masks or keypoints has more than the detector's parts."""
    more = _BESIDE_BOXES.get(plan.task.value or "")
    if more is not None and ledger.detects:
        return Resolution(None, because=f"the {more} of {ledger.name} are not worked out")
    return Resolution(ledger, assumptions=ledger.assumptions)


def _family(name: str, known: tuple[Profile, ...]) -> Resolution:
    """A name that leaves size or variant open: the interval spans the family, the value is for its usual member."""
    by_size = sorted(known, key=lambda member: member.parameters)
    span = " to ".join(dict.fromkeys((by_size[0].name, by_size[-1].name)))
    text = f"{name} leaves the variant open: the interval spans {span}, the value is for {known[0].name}"
    assumptions = (text, *known[0].assumptions) if len(known) > 1 else known[0].assumptions
    return Resolution(known[0], known[1:], assumptions)


_SUFFIXES = {
    "segment": ("segment", "seg"), "detect": ("detect",), "landmarks": ("landmarks",), "pose": ("pose",),
    "obb": ("obb",), "classify": ("cls",),
}  # fmt: skip
"""How the name of a model for a task may end."""


def _spellings(name: str, task: str | None) -> tuple[str, ...]:
    """The names a profile of this model and task may have, most specific first."""
    suffixes = _SUFFIXES.get(task or "", ())
    plain = re.sub(r"^yolov(?=1\d)", "yolo", name.lower())
    inside = (re.sub(r"^rf[-_ ]?detr[-_ ]", f"rfdetr_{suffix}_", plain) for suffix in suffixes)
    return tuple(dict.fromkeys((*inside, *(f"{plain}_{suffix}" for suffix in suffixes), plain, name)))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def _self_supervised(plan: TrainingPlan, found: Resolution) -> Resolution:
    """Two encoders and a queue around the backbone, where the plan is momentum contrast."""
    queue = plan.queue_size.value
    if plan.task.value != "self-supervised" and queue is None:
        return found
    dimension = plan.fact("projection_dim").value or _KEY_WIDTH
    backbones = [each for each in (found.knowledge, *found.alternatives) if each is not None]
    wholes = _traced_pairs(backbones[0].name, dimension, queue or 0)
    text = "MoCo v3: both views pass through both encoders; the lower bound is for one view (v2)"
    if wholes:
        segments = "checkpointing by residual block; the upper bound is for each encoder pass as one segment"
        texts = (text, segments) if plan.grad_checkpointing.value else (text,)
        return Resolution(wholes[0], wholes[1:], (*texts, *_without_head(found.assumptions)))
    pairs = [MomentumPair(backbone, views=2, dimension=dimension, queue_size=queue or 0) for backbone in backbones]
    single = pairs[0]._replace(views=1)
    return Resolution(pairs[0], (*pairs[1:], single), (text, *found.assumptions))


_KEY_WIDTH = 256
"""Width of MoCo v3's keys (facebookresearch/moco-v3 ``main_moco.py --moco-dim``); 128 in v1 and v2."""


def _traced_pairs(backbone: str, dimension: int, queue_size: int) -> tuple[ModelKnowledge, ...]:
    """MoCo v3 and v2 around this backbone, where they were traced whole."""
    third, second = find_profile(f"moco_v3_{backbone}"), find_profile(f"moco_v2_{backbone}")
    if third is None:
        return ()
    whole = Requeued(third, _KEY_WIDTH, dimension, queue_size)
    if second is None:
        return (whole,)
    single_view = Requeued(second, 128, dimension, queue_size)
    return (whole, single_view, OneSegment(whole, single_view))


def _without_head(assumptions: tuple[str, ...]) -> tuple[str, ...]:
    """A backbone's own assumptions speak of its classifier, which MoCo replaces."""
    return tuple(text for text in assumptions if "classes" not in text)
