"""A vision model's memory worked out from its ``type`` tree, layer by layer, without torch.

How it works
    Builders are small classes written in the order of the original's ``__init__`` (layers with parameters) and
    ``forward`` (operations). They run over tensors that have a shape and no data, on a :class:`~.tape.Tape` that
    imitates autograd: what an operation keeps for backward, what its backward allocates, when each is freed. One run of
    forward, loss and backward at the plan's own batch and size gives the peak; nothing is fitted.

    Lifetimes are Python's: a storage counts until the last reference to its tensor is gone, as in torch. So write
    builders as the original is written: keep a variable where the original keeps one, reuse the name where it does
    (``x = layer(x)``), and do not collect tensors in lists that the original does not have.

Rooms
    ``graph``      storages, tensors, nodes; ``engine`` runs a graph backward, checkpointed parts too
    ``tape``       one training step: operations recorded, autocast casts, checkpoints, the peaks of its phases
    ``stack``      what differs between torch versions
    ``functions``  operations without weights: ``relu(x, inplace=True)``, ``add``, ``concatenate``, ``resize``,
                   ``max_pool``, ``softmax``, ``matmul``, ``copy`` (a reshape that copies), ``select`` (a slice),
                   ``gather``, losses
    ``nn``         layers with weights: ``Conv`` (1-D to 3-D, grouped, dilated, transposed), ``DeformConv``,
                   ``Linear``, ``BatchNorm``, ``AffineNorm`` (detectron2's frozen norm), ``GroupNorm``, ``LayerNorm``
    ``bricks``     by configuration: ``norm(tape, cfg, channels)``, ``activation(cfg)``, ``conv(tape, cfg, …)``,
                   ``ConvModule``, ``SeparableConv``
    ``attention``  ``MultiheadAttention``, ``attention`` (fused or not)
    ``registry``   ``@backbone("ResNet")``, ``@neck``, ``@head``, ``@model``, ``@register("loss", "Name")``; new modules
                   are named in ``registry.MODULES``, and ``python tools/make_docs.py`` notes the names in
                   ``places.json``. ``"mmdet.ResNet"`` wins over ``"ResNet"`` in its scope
    ``knowledge``  :class:`~.knowledge.LayerModel`, which the estimator uses; ``understood`` for unknown types

A backbone in full::

    @backbone("TinyNet")
    class TinyNet:
        def __init__(self, build: Build, config: Config) -> None:
            tape = build.tape
            with tape.frozen(active=config.get("frozen_stages", -1) >= 0):
                self.stem = ConvModule(tape, 3, 32, 3, 2, 1, norm_cfg=config["norm_cfg"], act_cfg=RELU)
            self.block = ConvModule(tape, 32, 32, 3, 1, 1, norm_cfg=config["norm_cfg"], act_cfg=RELU)

        def __call__(self, images: Tensor) -> Maps:
            x = self.stem(images)
            return [F.add(x, self.block(x))]

    A shared layer (one head over all levels) is made once and called often. ``build.make("head", config, …)`` makes a
    nested component; an unknown ``type`` or option raises UnknownType, which ends as UNKNOWN in the estimate.

A model is an object with ``loss(images) -> Tensor``: all losses added up. ``tape.checkpoint(function, x)`` is
``cp.checkpoint``; ``with tape.no_grad():`` is what it says; a parameter used as an activation is ``nn.as_input``.
An operation that is not there yet: ``tape.record(shape, itemsize, inputs, grads, saved, …)``, where ``grads`` says for
each input what its gradient allocates in backward: bytes, ``SAME`` (handed on) or ``PART`` (a view). Data-dependent
counts (positives, proposals) come from the configuration's limits: allocate with ``tape.new`` and ``gather``.
"""

from vramlint.memory.layers import planned
from vramlint.memory.layers.knowledge import LayerModel
from vramlint.memory.layers.registry import Build, UnknownType
from vramlint.memory.layers.tape import MODERN, TORCH_1, Stack, Tape, Tensor

__all__ = ["MODERN", "TORCH_1", "Build", "LayerModel", "Stack", "Tape", "Tensor", "UnknownType", "planned"]
