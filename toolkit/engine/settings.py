"""The numbers that steer a training. The config's `train` section is these fields and the optimizer and schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

from toolkit.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a model is trained. Everything counts in optimizer steps.

    Args:
        steps: Number of optimizer steps of the whole training; epochs follow from it and the batch size.
        warmup_steps: Number of first steps in which the learning rate rises linearly to its full value; 0 for none.
        warmup_factor: Share of the full learning rate, 0..1, at which the warm-up begins.
        clip_norm: Largest norm of all gradients together; longer ones are scaled down to it. null clips nothing.
        accumulate: Number of batches whose gradients make one step together, as one larger batch would.
        precision: Number format of the passes: 32-true is float32, bf16-mixed and 16-mixed halve most of the memory; auto
            takes bf16-mixed where a GPU or a processor has matrix units for it, else 32-true, and says which.
        device: Where the training runs; auto takes a GPU when there is one, else the processor.
        devices: Number of processes on this machine, one a GPU; torchrun and SLURM set it themselves.
        nodes: Number of machines that train together; torchrun and SLURM set it themselves.
        decay_norm_and_bias: Whether weight decay reaches vectors too, that is biases and scales of norms.
        backbone_lr_factor: Learning rate of the backbone as a factor of the others'; 0 freezes it.
        bias_lr_factor: Learning rate of the biases of convolutions and linear layers as a factor of the weights'; 2 in
            Caffe's recipes.
        frozen: Parts that are never trained, by dotted prefixes of their names, [backbone, neck.project].
        lr_factors: Learning rates as factors of the others', by dotted name prefixes; the longest that fits counts, as
            in {backbone: 0.1, neck.project: 2}, or by patterns of whole names, {"*.conv.bias": 2}. 0 freezes.
        decay_factors: Weight decay as factors of the optimizer's, by dotted name prefixes or patterns of whole names; the
            longest that fits counts, as in {"*.conv.bias": 0}. With lr_factors they are Caffe's lr_mult and decay_mult.
        layer_decay: Factor of the learning rate from each layer of the backbone to the one below it, above 0 to 1; its
            last layer has the factor once. null grades nothing.
        freeze_until: Parts that are trained later, by dotted name prefixes, {backbone: 500}: until that many steps are
            made no gradient, weight decay or momentum moves them.
        frozen_bn: Batch normalisations, by dotted name prefixes, that normalise by their running statistics and change
            neither those nor scale and shift.
        recompute_bn: Number of batches over which the statistics of batch normalisation are averaged anew at the end,
            with dropout off, as SegNet's authors do; 0 keeps the running averages.
        ema_decay: Decay, above 0 and below 1, of a moving average of the weights, such as 0.999; the averages are what
            is evaluated and what best.safetensors and last.safetensors hold. null averages nothing.
        patience: Number of evaluations without a better best metric after which the training ends early; null never.
        loggers: Other places that the numbers of metrics.jsonl go to; each needs its package installed.
        log_every: Number of steps from one line of the log to the next.
        evaluate_every: Number of steps from one evaluation to the next; null evaluates at the end only.
        save_every: Number of steps from one saved state to the next, which bounds what a crash can lose; null saves
            when evaluating and at the end only.
        deterministic: Whether only algorithms that repeat to the bit are taken; an operation that has none stops the
            training and is named.
        tf32: Whether GPUs compute float32 products with 10 bits of mantissa, which is several times faster.
        channels_last: Whether images and convolutions lie with their channels last in memory, often faster on GPUs; auto:
            with mixed precision on a GPU, whose matrix units read them so, and not on a CPU, where nothing was gained.
        compile: Whether the training step goes through torch.compile: minutes at the start, faster steps afterwards.
        recompute: What is computed again in the backward pass instead of being kept: units (convolution, norm,
            activation) save about half of the memory, blocks of units more, for more time.
        sync_bn: Whether batch normalisation takes its statistics over the batches of all processes together.
        threads: Number of processor threads of each process; null leaves the choice to PyTorch.
    """

    steps: PositiveInt
    warmup_steps: NonNegativeInt = 0
    warmup_factor: Probability = 0.001
    clip_norm: PositiveFloat | None = None
    accumulate: PositiveInt = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "auto"] = "32-true"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: PositiveInt = 1
    nodes: PositiveInt = 1
    decay_norm_and_bias: bool = True
    backbone_lr_factor: NonNegativeFloat = 1.0
    bias_lr_factor: PositiveFloat = 1.0
    frozen: list[str] = field(default_factory=list)
    lr_factors: dict[str, NonNegativeFloat] = field(default_factory=dict)
    decay_factors: dict[str, NonNegativeFloat] = field(default_factory=dict)
    layer_decay: Annotated[float, Interval(gt=0, le=1)] | None = None
    freeze_until: dict[str, NonNegativeInt] = field(default_factory=dict)
    frozen_bn: list[str] = field(default_factory=list)
    recompute_bn: NonNegativeInt = 0
    ema_decay: Annotated[float, Interval(gt=0, lt=1)] | None = None
    patience: PositiveInt | None = None
    loggers: list[Literal["tensorboard", "wandb", "mlflow"]] = field(default_factory=list)
    log_every: PositiveInt = 20
    evaluate_every: PositiveInt | None = None
    save_every: PositiveInt | None = 200
    deterministic: bool = False
    tf32: bool = True
    channels_last: bool | Literal["auto"] = False
    compile: bool = False
    recompute: Literal["none", "units", "blocks"] = "none"
    sync_bn: bool = False
    threads: PositiveInt | None = None
