"""What the training loop costs: the toolkit's whole loop against bare PyTorch loops over the same model and batches.

    python -m benchmarks.train_step --config configs/tiny/unet_camvid.yaml --data path/to/camvid --steps 30 --threads 1

Rows:

* toolkit: `train()` as `toolkit train` runs it (one loader worker, learning rate, finite checks, gradient norm, log
  and progress), without evaluation and without saving.
* bare, fused / bare, not fused: forward, backward, step and zero_grad in a Python loop over the same batches, with
  PyTorch's optimizer as the toolkit builds it (fused) and as PyTorch builds it by default on this device.
* smp: segmentation-models-pytorch's Unet (--smp-encoder) in the same bare loop, with cross-entropy.
* malloc: the bare fused loop in processes of their own, with glibc's thresholds raised (as the toolkit does) and as
  they are.

All take turns, one step each, so that a busy machine slows all of them alike: the toolkit's loop asks for its next
batch, and the others do their step before it gets it. Ratios are medians over steps of the row's time by that of
"bare, fused" in the same turn. The worker's own seconds a batch are shown: where they exceed a step, one worker is too few.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import torch
from torch import nn

from benchmarks.rows import Goal, Measured, Measurements, Row, Work, measured
from toolkit.config.load import load_config
from toolkit.config.plain import to_yaml
from toolkit.config.sections import Config
from toolkit.engine.log import RunLog
from toolkit.engine.prepare import LossModule, trained_groups, with_base_rates
from toolkit.engine.process import OneProcess, make_fabric
from toolkit.engine.run_folder import RunFolder
from toolkit.engine.step import TrainingStep
from toolkit.engine.train import train
from toolkit.freed_memory import keep_freed_memory
from toolkit.jobs.assemble import assemble, build_job
from toolkit.jobs.build import build_model, build_optimizer_rule, with_train_settings
from toolkit.models.vision_model import VisionModel
from toolkit.samples import Batch

Step = Callable[[Batch], None]
PLAIN = ("train.optimizer={name: adamw, lr: 0.001, weight_decay: 0.01}", "train.precision=32-true")
"""What all ways do alike, whatever the config says: PyTorch has AdamW fused and not; a bare loop computes in float32."""
REFERENCE = "bare, fused"


def optimizer_of(config: Config, model: VisionModel, fused: bool) -> Any:
    made = build_optimizer_rule(config).build(trained_groups(model, build_optimizer_rule(config).lr, config.train))
    if fused:
        return made
    groups = [{k: v for k, v in group.items() if k not in ("fused", "parameters")} for group in made.param_groups]
    return type(made)(groups, lr=groups[0]["lr"])


def bare(loss: Callable[[Batch], torch.Tensor], optimizer: torch.optim.Optimizer) -> Step:
    def step(batch: Batch) -> None:
        loss(batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def of_model(model: VisionModel) -> Callable[[Batch], torch.Tensor]:
    def loss(batch: Batch) -> torch.Tensor:
        batch = batch._replace(images=batch.images.contiguous())
        return torch.stack(list(model.loss(batch).values())).sum()

    return loss


def of_smp(encoder: str, classes: int, channels: int, device: torch.device) -> tuple[nn.Module, Any]:
    import segmentation_models_pytorch as smp

    net = smp.Unet(encoder, encoder_weights=None, in_channels=channels, classes=classes).train().to(device)

    def loss(batch: Batch) -> torch.Tensor:
        images = batch.images.contiguous().float() / 255
        height, width = (n // 32 * 32 for n in images.shape[-2:])  # it takes multiples of 32 only
        logits = net(images[..., :height, :width])
        assert batch.label_maps is not None
        return nn.functional.cross_entropy(logits, batch.label_maps[..., :height, :width].long(), ignore_index=255)

    return net, loss


def rows() -> list[Row]:
    """The toolkit's step as the command line sets up its process, against a plain loop in a process as it comes."""
    title = "U-Net step, tiny CamVid config, 4 crops of 144x192"
    goals = (Goal("bare eager loop", most=0.92), Goal("bare fused loop", most=0.95))
    return [
        Row("unet-step", title, in_turn, goals, budget=15),
        Row("unet-step-2", f"{title}, 2 threads", in_turn, goals[:1], threads=2, budget=15),
    ]


def in_turn(work: Work) -> Measurements:
    ways: dict[str, Callable[[], object]] = {}
    for name in ("toolkit", "bare eager loop", "bare fused loop"):
        here, there = multiprocessing.get_context("spawn").Pipe()
        child = multiprocessing.get_context("spawn").Process(
            target=serve_steps, args=(there, name, work.toy, torch.get_num_threads()), daemon=True
        )
        child.start()
        work.at_end.callback(child.terminate)
        ways[name] = partial(ask, here)
    return work.in_turn(ways)


def ask(pipe: Any) -> Measured:
    pipe.send(True)
    return pipe.recv()


def serve_steps(pipe: Any, name: str, toy: bool, threads: int) -> None:
    """A process that does some steps of one way when asked, and answers what they took."""
    torch.set_num_threads(threads)
    if name == "toolkit":
        keep_freed_memory()
    config = load_config("configs/tiny/unet_camvid.yaml", PLAIN)
    model = build_model(config, pretrained=False).train()
    batch = batch_of(1 if toy else 4, *((32, 48) if toy else (144, 192)), model.num_classes)
    optimizer = optimizer_of(config, model, fused=name != "bare eager loop")
    if name == "toolkit":
        ours = TrainingStep(OneProcess(), LossModule(model), with_base_rates(optimizer), config.train)
        one: Callable[[], object] = lambda: ours.run(0, [batch])  # noqa: E731
    else:
        plain = bare(of_model(model), optimizer)
        one = lambda: plain(batch)  # noqa: E731
    while pipe.recv():
        pipe.send(measured(lambda: [one() for _ in range(1 if toy else 3)]))


def batch_of(number: int, height: int, width: int, classes: int) -> Batch:
    images = torch.randint(0, 256, (number, height, width, 3), dtype=torch.uint8).permute(
        0, 3, 1, 2
    )  # as `collate` does
    sizes = torch.tensor([[height, width]] * number)
    labels = torch.randint(0, classes, (number, height, width), dtype=torch.uint8)
    return Batch(images, sizes, sizes, ("",) * number, labels)


def serve(pipe: Any, path: str, overrides: list[str], threads: int, keep: bool) -> None:
    """A process that does bare steps when asked, and answers with the seconds each took."""
    torch.set_num_threads(threads)
    if keep:
        keep_freed_memory()
    config = load_config(path, overrides)
    model = assemble(config).model.train()
    step = bare(of_model(model), optimizer_of(config, model, fused=True))
    while (batch := pipe.recv()) is not None:
        began = time.perf_counter()
        step(batch)
        pipe.send(time.perf_counter() - began)


class Turns:
    """Batches for the toolkit's loop, during whose handing over the others do their step."""

    def __init__(self, ways: dict[str, Step], served: dict[str, Any], fabric: Any) -> None:
        self.ways, self.served, self.fabric = ways, served, fabric
        self.times: dict[str, list[float]] = {name: [] for name in ("toolkit", *ways, *served)}

    def batches(self, loader: Any) -> Iterator[Batch]:
        """The loader's batches. What the toolkit took is the time from handing one over to having fetched the next."""
        resumed = None
        for batch in loader:
            now = time.perf_counter()
            if resumed is not None:
                self.times["toolkit"].append(now - resumed)
            on_device = self.fabric.to_device(batch)
            for name, step in self.ways.items():
                self._wait()
                began = time.perf_counter()
                step(on_device)
                self._wait()
                self.times[name].append(time.perf_counter() - began)
            for name, pipe in self.served.items():
                pipe.send(batch)
                self.times[name].append(pipe.recv())
            self._wait()
            resumed = time.perf_counter()
            yield batch

    def _wait(self) -> None:
        if self.fabric.device.type == "cuda":
            torch.cuda.synchronize(self.fabric.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/tiny/unet_camvid.yaml")
    parser.add_argument("--data", help="data.root")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smp-encoder", default="resnet18", help="'' leaves that row out")
    parser.add_argument(
        "--malloc", action="store_true", help="also the two processes that differ in malloc's thresholds"
    )
    parser.add_argument("overrides", nargs="*", help="key=value, as for toolkit train")
    arguments = parser.parse_args()
    overrides = [
        *PLAIN,
        *arguments.overrides,
        "data.workers=1",
        f"train.threads={arguments.threads}",
        "train.log_every=10",
    ]
    overrides += [f"data.root={arguments.data}"] if arguments.data else []
    config = load_config(arguments.config, overrides)
    config = with_train_settings(
        config, steps=arguments.steps + 4, evaluate_every=None, save_every=None, warmup_steps=0
    )
    fabric = make_fabric(config.train)
    built = assemble(config)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        log = RunLog(run.metrics, run.log, quiet=True)
        job = build_job(built.config, fabric, built.model, built.datasets, run, log, to_yaml(built.config))
        loader = iter(job.batches(0))
        next(loader)  # the worker starts
        began = time.perf_counter()
        read = [batch.count for batch, _ in zip(loader, range(8), strict=False)]
        alone = (time.perf_counter() - began) / len(read)
        del loader
        ways: dict[str, Step] = {}
        for name, fused in ((REFERENCE, True), ("bare, not fused", False)):
            model = copy.deepcopy(built.model).train().to(fabric.device)
            ways[name] = bare(of_model(model), optimizer_of(built.config, model, fused))
        if arguments.smp_encoder and built.model.head.border == 0:
            net, loss = of_smp(arguments.smp_encoder, built.model.num_classes, built.model.in_channels, fabric.device)
            ways[f"smp Unet {arguments.smp_encoder}"] = bare(
                loss, torch.optim.AdamW(net.parameters(), 1e-3, fused=True)
            )
        served, children = {}, []
        if arguments.malloc:
            for name, keep in (("malloc raised", True), ("malloc as it is", False)):
                here, there = multiprocessing.get_context("spawn").Pipe()
                child = multiprocessing.get_context("spawn").Process(
                    target=serve, args=(there, arguments.config, overrides, arguments.threads, keep), daemon=True
                )
                child.start()
                served[name] = here
                children.append(child)
        turns = Turns(ways, served, fabric)
        train(
            fabric,
            dataclasses.replace(job, evaluate=None, batches=lambda step: turns.batches(job.batches(step))),
            config.train,
        )
        for pipe in served.values():
            pipe.send(None)
    show(turns, config, alone, read[0])


def show(turns: Turns, config: Config, alone: float, images: int) -> None:
    warm = 2  # the first steps of every way choose kernels and make the optimizer's moments
    times = {name: values[warm:] for name, values in turns.times.items()}
    reference = times[REFERENCE]
    print(f"{config.data.batch_size} images a step, {len(reference)} turns, {torch.get_num_threads()} threads")
    print(f"{'way':24}{'median':>12}{'by bare, fused':>16}{'quartiles':>16}")
    for name, values in times.items():
        ratios = sorted(a / b for a, b in zip(values, reference, strict=False))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        middle = statistics.median(ratios)
        print(f"{name:24}{1e3 * statistics.median(values):9.1f} ms{middle:16.3f}{low:9.3f}..{high:.3f}")
    print(f"the loader's worker alone: {1e3 * alone:.1f} ms a batch of {images}")


if __name__ == "__main__":
    main()
