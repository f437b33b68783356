"""What a check looks at, one thing after another: data, classes, parts, parts against data, the training's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from toolkit.config.sections import Config
from toolkit.contracts import ANY_SIZE, Dataset, Transform
from toolkit.data.faults.skipped import skipped_text
from toolkit.data.transforms.pipeline import refuse_for_evaluation
from toolkit.engine.prepare import check_parts
from toolkit.errors import ConfigError, UserError
from toolkit.jobs.agreement import (
    check_channels,
    check_class_weights,
    check_neck,
    check_pretrained_channels,
    check_start,
)
from toolkit.jobs.bad_samples import leniently, skipping
from toolkit.jobs.build import (
    aspect_groups_of,
    build_evaluators,
    build_model,
    build_optimizer_rule,
    build_schedule,
    build_transforms,
    build_whole,
    class_lists_differ,
    classes_of,
    draws_of,
    identity_of_split,
    with_class_weights,
)
from toolkit.jobs.restore import initialise
from toolkit.jobs.trial import first_traces, meta_model, model_sizes, part_names, usual_size
from toolkit.labels import ClassTable
from toolkit.layers.downloads import NeedsDownloadError, without_downloads
from toolkit.models.vision_model import VisionModel
from toolkit.preflight.data.copies import check_same_files
from toolkit.preflight.data.faults import note_constructor_faults
from toolkit.preflight.data.readings import note_readings
from toolkit.preflight.data.scan import ScanSplit
from toolkit.preflight.findings import Finding, Report
from toolkit.preflight.model.anchors import check_anchors
from toolkit.preflight.model.first_batch import try_batch, try_evaluation
from toolkit.preflight.model.geometry_trace import boxes_seen, trace_geometry
from toolkit.preflight.model.meta_pass import MetaPass, try_parts
from toolkit.preflight.model.plan import Plan, check_plan
from toolkit.preflight.model.sizes import check_sizes, compare_with_validation
from toolkit.samples import Sample

SPLITS = ("train", "val", "test")


CHOOSES_BEST = "no weights are kept as the best, only the last (last.safetensors)"
"""What happens when nothing can be measured."""


class Gate:
    """What is known of a config so far, while one thing after another is looked at. Findings go to the report."""

    def __init__(self, report: Report, config: Config, valid: frozenset[str]) -> None:
        self.report = report
        self.config = config
        self.valid = valid
        self.datasets: dict[str, Dataset] = {}
        self.scans: list[ScanSplit] = []
        self.transforms: dict[str, list[Transform]] = {}
        self.table: ClassTable | None = None
        self.trial: MetaPass | None = None
        self.rule = ANY_SIZE

    def data(self) -> None:
        """Data sets and transforms of every split."""
        for split in SPLITS:
            if f"data.{split}" not in self.valid or getattr(self.config.data, split) is None:
                continue
            dataset = self._dataset(split)
            if dataset is not None:
                self.datasets[split] = dataset
                self.report.note("data", f"{split}: {_counted(dataset)}")
            transforms = self.report.attempt("transforms", build_transforms, self.config, split)
            if transforms is not None:
                self.transforms[split] = transforms
                if split != "train":
                    self.report.attempt("transforms", refuse_for_evaluation, transforms, f"data.{split}.transforms")
        check_same_files(self.report, self.datasets)
        note_readings(self.report, self.datasets, CHOOSES_BEST)

    def _dataset(self, split: str) -> Dataset | None:
        """The samples that can be used; those that are wrong are findings, or left out where the config says so.

        Training does not touch the test images, which many a copy of a data set lacks: that is no error.
        """
        report, config = self.report, self.config
        try:
            whole, faults = leniently(lambda: build_whole(config, split))
        except UserError as error:
            for problem in error.problems:
                if split == "test":
                    report.warn("test_data", problem.advising("training does not need it"))
                else:
                    report.add(Finding("data", problem), 2 if isinstance(error, ConfigError) else 1)
            return None
        skip, identity = config.data.on_bad == "skip", identity_of_split(config, split, whole)
        self.scans.append(ScanSplit(split, whole, faults, identity, skip))
        if not skip:
            note_constructor_faults(report, split, whole, faults)
            return whole
        return report.attempt("data", skipping, whole, faults, identity, split, config.data.workers)

    def classes(self) -> None:
        """The class table, and whether every split has it; the numbers that weigh the classes."""
        config, train = self.config, self.datasets.get("train")
        if config.data.classes is None and train is None:
            return
        self.table = table = self.report.attempt("classes", classes_of, config, train)
        if table is None:
            return
        self.report.note("classes", f"{len(table.names)}: {_listed(table.names)}")
        for split, dataset in self.datasets.items():
            if tuple(dataset.classes) != table.names:
                problem = class_lists_differ(f"data.{split}.dataset", dataset.classes, table.names)
                self.report.add(Finding("classes", problem), 2)
        self.report.attempt("evaluators", build_evaluators, config, table.names)
        if "model" in self.valid:
            check_class_weights(self.report, config, table.names)

    def parts(self) -> None:
        """Parts on one another and against the data, on the meta device; then the numbers of the training."""
        if "model" in self.valid:
            model = self.report.attempt("parts", meta_model, self.config, self.table)
            if model is not None:
                count = sum(parameter.numel() for parameter in model.parameters())
                self.report.note("model", f"{count:,} parameters; the head reads {model.spec.describe()}")
                self.against_data(model)
            if "train" in self.valid:
                self.plan(model)
        elif "train" in self.valid:
            self.plan(None)

    def against_data(self, model: VisionModel | None, *, suggest: bool = True) -> None:
        """Sizes, channels, anchors of a model on the meta device. suggest: whether better anchors are searched for."""
        if model is None:
            return
        self.rule = model.spec.sizes
        config, report = self.config, self.report
        train, transforms = self.datasets.get("train"), self.transforms.get("train")
        like = report.attempt("sample", lambda: train[0]) if train is not None and len(train) else None
        size = usual_size(transforms or [], model.in_channels)
        check_neck(report, model)
        check_pretrained_channels(report, config.model.backbone, model.in_channels)
        if train is not None and like is not None:
            check_channels(report, config, model, like)
            if transforms is not None:
                size = self._sizes(train, transforms, like, model) or size
                layout = model.head.anchor_layout()
                if layout is not None and like.boxes is not None:
                    seen = boxes_seen(train, transforms, config.seed)
                    check_anchors(report, seen, layout, model.classes, suggest=suggest)
        batch = max(1, self.batch_size // self.processes)
        self.trial = report.attempt("parts", try_parts, model, part_names(config), size, batch)

    def _sizes(
        self, train: Dataset, transforms: Sequence[Transform], like: Sample, model: VisionModel
    ) -> tuple[int, int] | None:
        """Image sizes against the model; the size that most training images have."""
        report, config = self.report, self.config
        groups = report.attempt("group_by_aspect", aspect_groups_of, config, train)
        ways = first_traces(report, config, train, transforms, like, self.batch_size, groups)
        if not ways:
            return None
        size = ways[0][0].after
        check_sizes(report, ways, model_sizes(model, size), self.batch_size)
        val, steps = self.datasets.get("val"), self.transforms.get("val")
        if val is not None and steps is not None and len(val):
            one = report.attempt("sample", lambda: trace_geometry(val[0], steps, 0)[0])
            if one is not None:
                compare_with_validation(report, size, one.after)
        return size

    def plan(self, model: VisionModel | None) -> None:
        """The `train` section: what it builds, and what of it will surprise."""
        config, report = self.config, self.report
        rule = report.attempt("optimizer", build_optimizer_rule, config)
        report.attempt("schedule", build_schedule, config)
        if rule is None:
            return
        images = {split: len(dataset) for split, dataset in self.datasets.items()}
        measured = images.get("val", 0) if config.evaluate.evaluators else 0
        batch_size = 0 if config.data.batch_size == "auto" else self.batch_size
        plan = Plan(
            config.train, config.train.optimizer.name, rule.lr, images.get("train", 0), measured, batch_size,
            config.data.workers,
        )  # fmt: skip
        check_plan(report, plan, model)
        if model is not None:
            report.attempt("trained_parts", check_parts, model, rule.lr, config.train)

    def first_batch(self) -> None:
        """Weights as the training will start with, and one batch forward and backward; only where all else is well."""
        config, report = self.config, self.report
        if report.errors or self.table is None or "train" not in self.datasets:
            return
        train = self.datasets["train"]
        config = report.attempt("class_weights", with_class_weights, config, train) or config
        torch.manual_seed(config.seed)
        model = report.attempt("weights", self._with_weights, config)
        if model is None:
            return
        taken = report.attempt("init_from", initialise, model, config)
        if taken is not None:
            check_start(report, config, taken, self.table.names)
        macs = self.trial.macs if self.trial else 0.0
        groups = aspect_groups_of(config, train)
        report.attempt(
            "first_batch", try_batch, report, model, train, self.transforms["train"], self.batch_size, config.seed,
            groups, draws_of(config, train), macs,
        )  # fmt: skip
        self.first_evaluation(model)

    def first_evaluation(self, model: VisionModel) -> None:
        """One small validation image predicted by a model with numbers, and measured by every evaluator."""
        config, report = self.config, self.report
        val, transforms = self.datasets.get("val"), self.transforms.get("val")
        if report.errors or val is None or not len(val) or transforms is None:
            return
        sample = report.attempt("sample", lambda: val[0])
        built = report.attempt("evaluators", build_evaluators, config, model.classes)
        if sample is None or not built:
            return
        named = [(part.name, one) for part, one in zip(config.evaluate.evaluators, built, strict=True)]
        cost = self.trial.macs / (self.trial.size[0] * self.trial.size[1]) if self.trial else 0.0
        report.attempt("evaluators", try_evaluation, model, named, sample, transforms, cost)

    def _with_weights(self, config: Config) -> VisionModel:
        """The model with the weights it will start with, unless they have to be fetched first, which is said."""
        if config.model.init_from is None:
            try:
                with without_downloads():
                    return build_model(config, classes=self.table)
            except NeedsDownloadError as error:
                self.report.note("start", str(error.problems[0]))
        return build_model(config, pretrained=False, classes=self.table)

    @property
    def processes(self) -> int:
        """How many share a batch."""
        return self.config.train.devices * self.config.train.nodes

    @property
    def batch_size(self) -> int:
        """Images of a batch, of all processes together."""
        size: Any = self.config.data.batch_size
        return size if isinstance(size, int) else 2 * self.processes  # "auto": found when training begins


def _counted(dataset: Dataset) -> str:
    return "\n".join(filter(None, (dataset.describe(), skipped_text(dataset))))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
