"""Words that people bring from other tools, and the key that is meant here.

Keys of configs and options of command lines of mmsegmentation, mmdetection, Detectron2, Ultralytics,
segmentation-models-pytorch, timm, Lightning and torchvision's references.
"""

from __future__ import annotations

from collections.abc import Container

_PLACES: dict[str, str] = {
    "train.epochs": "epoch num_epochs max_epochs n_epochs total_epochs nepochs",
    "train.steps": "iters iterations max_iter max_iters num_iters num_iterations total_iters num_steps max_steps total_steps",
    "train.optimizer.lr": "lr lr0 learning_rate base_lr init_lr initial_lr start_lr lr_init",
    "train.optimizer.momentum": "momentum sgd_momentum",
    "train.optimizer.weight_decay": "weight_decay wd l2 decay",
    "train.optimizer.betas": "betas beta1 beta2",
    "train.optimizer": "optim optimiser solver opt optimizer_name",
    "train.schedule": "scheduler lr_scheduler lr_schedule lr_config lr_policy sched param_scheduler cos_lr",
    "train.warmup_steps": "warmup warmup_epochs warmup_iters num_warmup_steps lr_warmup_epochs",
    "train.precision": "amp fp16 bf16 half mixed_precision use_amp autocast",
    "train.ema_decay": "ema model_ema use_ema ema_momentum",
    "train.clip_norm": "clip_grad grad_clip clip_grad_norm gradient_clip_val max_grad_norm max_norm gradient_clipping",
    "train.accumulate": "accumulate_grad_batches accumulation_steps gradient_accumulation_steps grad_accum accum_iter nbs",
    "train.device": "gpu cuda accelerator",
    "train.devices": "gpus n_gpus num_gpus world_size nproc device_ids gpu_ids",
    "train.patience": "early_stopping early_stop early_stopping_patience stop_patience",
    "train.save_every": "save_period save_interval checkpoint_interval checkpoint_period save_freq checkpoint_every save_steps",
    "train.evaluate_every": "val_interval eval_interval eval_every val_every eval_period val_period eval_freq eval_steps",
    "train.log_every": "log_interval log_freq print_freq log_every_n_steps logging_steps log_period",
    "train.frozen": "freeze freeze_layers frozen_layers freeze_encoder freeze_backbone",
    "train.sync_bn": "sync_batchnorm sync_batch_norm sync_norm",
    "train.compile": "torch_compile",
    "train.deterministic": "cudnn_deterministic",
    "train.loggers": "logger wandb tensorboard mlflow report_to log_with",
    "data.batch_size": "batch bs batchsize batch_size_per_gpu samples_per_gpu train_batch_size ims_per_batch b",
    "data.workers": "num_workers n_workers workers_per_gpu dataloader_workers num_data_workers nw j",
    "data.cache": "cache_images cache_ram cache_disk use_cache cache_dataset",
    "data.root": "data_root dataset_root data_dir data_path dataset_path dataset_dir path root_dir",
    "data.classes": "names class_names class_list labels",
    "data.train.transforms": "augment augmentation augmentations aug pipeline train_pipeline train_transforms transform augs",
    "data.train.dataset.label_values": "ignore_index ignore_label reduce_zero_label ignore_id void_label label_map label_mapping",
    "data.on_bad": "skip_bad ignore_errors",
    "model.backbone": "encoder encoder_name arch architecture net network model_name",
    "model.backbone.in_channels": "in_channels in_chans input_channels channels num_channels",
    "model.backbone.output_stride": "output_stride os",
    "model.neck": "decoder decoder_name fpn",
    "model.head": "decode_head roi_head bbox_head classifier segmentation_head mask_head",
    "model.head.loss": "loss criterion loss_fn loss_name loss_decode losses",
    "model.head.loss.class_weights": "class_weight class_weighting loss_weights pos_weight",
    "model.head.test.score": "conf conf_thres conf_threshold score_thr score_threshold score_thresh confidence threshold",
    "model.head.test.nms_iou": "iou iou_thres iou_threshold nms_thr nms_threshold nms",
    "model.head.test.per_image": "max_det max_dets max_per_img max_detections detections_per_img topk",
    "model.init_from": "load_from checkpoint ckpt weights ckpt_path init_weights finetune finetune_from init_checkpoint",
    "evaluate.evaluators": "metrics metric evaluator val_evaluator evaluation eval_metric",
    "seed": "random_seed manual_seed rng_seed random_state",
    "name": "exp_name run_name experiment experiment_name exp",
}
_SENTENCES: dict[str, str] = {
    "imgsz img_size image_size input_size crop_size img_scale resize": (
        "sizes are transforms: data.train.transforms with {name: resize, height: 512, width: 512}, or RandomCrop"
    ),
    "pretrained encoder_weights weights_backbone imagenet pretrained_backbone": (
        "it is model.backbone.weights (resnet, vgg: DEFAULT; smp: imagenet), or model.backbone.pretrained of timm"
    ),
    "resume resume_from auto_resume": "it is on the command line: toolkit train CONFIG --run FOLDER --resume",
    "work_dir output_dir out_dir save_dir log_dir output project default_root_dir": (
        "the run's folder is on the command line, --run FOLDER; its name alone is the key 'name'"
    ),
    "num_classes n_classes nc": "classes are named, in data.classes, and their number follows",
    "shuffle": "training images are always drawn in a random order; data.sampling has other orders",
    "type": "parts are named by 'name'",
}
_BY_HABIT = {habit: place for place, habits in _PLACES.items() for habit in habits.split()}
_SAID = {habit: sentence for habits, sentence in _SENTENCES.items() for habit in habits.split()}
_HERE = {"pretrained": "weights", "encoder_weights": "weights", "type": "name", "prob": "p", "probability": "p"}
_NAMES: dict[str, dict[str, str]] = {
    "backbone": {"unet": "unet_encoder", "lenet": "lenet5", "inception": "googlenet"},
    "neck": {"unet": "skip", "decoder": "skip", "segnet": "index_unpool", "dilated": "context"},
    "head": {"fcn": "pixel", "segmentation": "pixel", "classifier": "image", "fasterrcnn": "rcnn", "regression": "image_values"},
    "loss": {"ce": "cross_entropy", "crossentropyloss": "cross_entropy", "xent": "cross_entropy", "iou": "jaccard"},
    "optimizer": {"adam": "adamw", "momentum": "sgd"},
    "schedule": {"step": "multistep", "cosineannealing": "cosine", "polynomial": "poly", "onecycle": "cosine"},
    "evaluator": {"miou": "semantic", "iou": "semantic", "map": "coco", "ap": "coco", "accuracy": "classification"},
}  # fmt: skip


def habit(key: str, known: Container[str] = (), here: str = "") -> str:
    """What a key of another tool is here: "did you mean 'lr'?", "it is data.batch_size", a sentence, or "".

    Args:
        key: the key as it was written, with "-" or "_", in any case.
        known: keys that the same place does have.
        here: the place, dotted; a key that would stand right there, but does not exist, is not named.

    >>> habit("num_workers")
    'it is data.workers'
    >>> habit("learning_rate", ["lr", "momentum"])
    "did you mean 'lr'?"
    """
    word = key.strip("-").replace("-", "_").lower()
    place = _BY_HABIT.get(word, "")
    parent, _, last = place.rpartition(".")
    last = _HERE.get(word, last)
    if last in known:
        return f"did you mean '{last}'?"
    if place:
        return f"it is {place}" if parent != here or not here else ""
    return _SAID.get(word, "")


def usual_name(kind: str, name: str) -> str:
    """The registered name behind one that other tools use for a part of a kind ("ce" is "cross_entropy"), or ""."""
    word = name.lower().replace("_", "").replace("-", "")
    names = _NAMES.get(kind, {})
    return names.get(word) or names.get(word.removesuffix("loss").removesuffix("lr").removesuffix("head")) or ""
