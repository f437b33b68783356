"""The numbers that steer a training. The config's `train` section is these fields and the optimizer and schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

from toolkit.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a model is trained. Everything counts in optimizer steps.

    warmup_steps: the learning rate rises linearly from `warmup_factor` of itself. clip_norm: largest gradient norm.
    accumulate: batches a step. precision: Fabric's names. device: "auto" takes a GPU when there is one. devices,
    nodes: processes a machine, machines. decay_norm_and_bias: whether weight decay reaches vectors (biases, norms).
    backbone_lr_factor: learning rate of the backbone as a factor of the others'; 0 freezes it. bias_lr_factor: that of
    the biases of convolutions and linear layers, 2 in Caffe's recipes. frozen: what else is not trained, by the
    beginnings of its names, [neck.project].
    lr_factors: learning rates as factors of the others', by the beginnings of names; the longest that fits counts:
    {backbone: 0.1, neck.project: 2}. layer_decay: a backbone's layer at depth d below the neck is trained at
    layer_decay ** d of the rate, its last layer having depth 1 (`engine/parameters.py`); null grades nothing.
    freeze_until: parts that are trained later, {backbone: 500}: until that many updates are made, no gradient, weight
    decay or momentum moves them. frozen_bn: batch normalisations, by the beginnings of their names, that normalise by
    their running statistics and change neither those nor scale and shift, [backbone].
    recompute_bn: batches over which batch normalisation's statistics are averaged anew at the end, with dropout off and
    before the last evaluation, as SegNet's authors do; 0 keeps the running averages.
    ema_decay: the weights are averaged, average = ema_decay * average + (1 - ema_decay) * weights after every step; the
    averages are what is evaluated and what best.safetensors and last.safetensors hold, the weights themselves are in
    last.state (`engine/weight_average.py`). null averages nothing.
    patience: the run ends early after so many evaluations without a better best metric; null never.
    loggers: where the events of metrics.jsonl go as well: tensorboard, wandb, mlflow (each an extra to install).
    log_every, evaluate_every, save_every: steps; null never (the end always evaluates and saves).
    deterministic: only algorithms that repeat to the bit (`engine/process.py` lists what it sets); an operation that
    has none stops the run and is named. tf32: on GPUs, float32 products with 10 bits of mantissa, several times
    faster. channels_last: memory format of images and convolutions, else channels first.
    compile: torch.compile for the training step (a detector's backbone and neck only); evaluation stays as it is.
    recompute: what is computed again in backward instead of being kept: the insides of "units" (convolution, norm,
    activation), which take about half of the memory, or of "blocks" of units, for less memory and more time.
    sync_bn: batch statistics over the batches of all processes.
    threads: processor threads of each process; null leaves PyTorch's choice.
    """

    steps: PositiveInt
    warmup_steps: NonNegativeInt = 0
    warmup_factor: Probability = 0.001
    clip_norm: PositiveFloat | None = None
    accumulate: PositiveInt = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: PositiveInt = 1
    nodes: PositiveInt = 1
    decay_norm_and_bias: bool = True
    backbone_lr_factor: NonNegativeFloat = 1.0
    bias_lr_factor: PositiveFloat = 1.0
    frozen: list[str] = field(default_factory=list)
    lr_factors: dict[str, NonNegativeFloat] = field(default_factory=dict)
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
    channels_last: bool = False
    compile: bool = False
    recompute: Literal["none", "units", "blocks"] = "none"
    sync_bn: bool = False
    threads: PositiveInt | None = None
