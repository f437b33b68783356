"""Verbs and options that people bring from other tools, and the command line that is meant here."""

from __future__ import annotations

from collections.abc import Sequence

import click

from toolkit.errors import did_you_mean

_VERBS = {
    "evaluate": "val eval test validate validation valid score",
    "predict": "infer inference detect segment pred run classify label",
    "train": "fit finetune fine-tune learn resume",
    "describe": "info summary model anatomy visualize",
    "check": "verify lint config data doctor stats validate-config",
    "list": "ls show help models zoo",
    "init": "setup quickstart recognise recognize import prepare",
    "new": "create start scaffold",
}
_OWN = {
    "--run": "name project output o output-dir out-dir save-dir work-dir logdir log-dir exp-name out",
    "--out": "output o output-dir out-dir save-dir project name work-dir result results save run",
    "--format": "save-txt save-json save save-img formats output-format",
    "--batch-size": "batch b bs",
    "--tile": "tiles tile-size slice sliced patch-size sahi",
    "--memory": "max-memory ram max-ram mem",
    "--device": "gpu gpus cuda d",
    "--score": "conf conf-thres confidence threshold score-thr conf-threshold score-threshold",
    "--iou": "iou-thres nms iou-threshold nms-iou",
    "--max-detections": "max-det max-dets max-detections topk",
    "--tta": "augment flip-test",
    "--resume": "continue resume-from",
    "--split": "set subset part task",
    "--html": "page report",
    "--size": "imgsz img-size input-size shape image-size img",
    "--weights": "checkpoint ckpt model",
    "--json": "as-json output-json",
    "--full": "all complete deep",
}
"""Options of our verbs, and what others call them; the first that a verb has is meant."""
_MEANT_VALUES = {"save-txt": "yolo", "save-json": "coco"}
_ARGUMENT = {
    "config": "config c cfg config-file yaml f data",
    "checkpoint": "weights w model m checkpoint ckpt load",
    "images": "source images input inputs image i data img",
    "name": "name config",
}
"""Arguments that stand without a name here, and the options they are elsewhere."""


def verb_meant(word: str, verbs: Sequence[str], rest: Sequence[str]) -> str:
    """What to write for a verb that is none: another tool's word for one, or a near one.

    Args:
        word: the verb as it was written.
        verbs: names of all verbs there are.
        rest: what stands behind it on the command line.
    """
    meant = next((verb for verb, words in _VERBS.items() if word.lower() in words.split() and verb in verbs), None)
    return f"write toolkit {' '.join([meant, *rest])}" if meant else did_you_mean(word, verbs)


def option_meant(option: str, command: click.Command, arguments: Sequence[str]) -> str:
    """What to write for an option that a verb does not have.

    Args:
        option: the option as click names it ("--epochs", "-b").
        command: the verb that was called, with its options.
        arguments: the whole command line, for the value that was given.
    """
    word = option.lstrip("-").replace("_", "-").lower()
    value = _value(option, arguments)
    parameters = [name for parameter in command.params for name in parameter.opts]
    if "." in word:
        return f"write {option.lstrip('-')}={value}, without dashes"
    own = next((name for name, words in _OWN.items() if name in parameters and word in words.split()), None)
    if own:
        given = _MEANT_VALUES.get(word, "" if value == "VALUE" else value)
        return f"write {own} {given}".rstrip()
    argument = next((name for name, words in _ARGUMENT.items() if name in parameters and word in words.split()), None)
    if argument:
        return f"it stands without a name: toolkit {command.name} {argument.upper()} ..."
    near = did_you_mean(word, [name.lstrip("-") for name in parameters if name.startswith("--")])
    near = near.replace("'", "'--", 1) if near.startswith("did you mean") else ""
    return _as_key(word, value, command) or near or f"toolkit {command.name} --help names its options"


def _as_key(word: str, value: str, command: click.Command) -> str:
    """The key=value that an option is, for a verb that takes such; for one with a checkpoint, that its config says it."""
    key, arguments = _key(word), [parameter.name for parameter in command.params]
    places = key.removeprefix("it is ").split(" or ") if key.startswith("it is ") else []
    if "overrides" in arguments:
        return "write " + " or ".join(f"{place}={_usual(place, value)}" for place in places) if places else key
    if places and "checkpoint" in arguments:
        return f"the config that the checkpoint carries says it, as {' or '.join(places)}"
    return ""


def _usual(place: str, value: str) -> str:
    """A value of another tool as it is written here: device 0 is cuda, half precision has a name."""
    if place == "train.device" and (value.isdecimal() or value.startswith("cuda")):
        return "cuda"
    return "bf16-mixed" if (place, value) == ("train.precision", "VALUE") else value


def _key(word: str) -> str:
    """The config's key for an option: "it is train.epochs", a sentence, or ""."""
    from toolkit.config.habits import habit
    from toolkit.config.remedies import belongs_to

    return belongs_to(word.replace("-", "_")) or habit(word)


def _value(option: str, arguments: Sequence[str]) -> str:
    """The value that was given to an option, "VALUE" when none was."""
    for place, argument in enumerate(arguments):
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
        if argument == option:
            after = arguments[place + 1] if place + 1 < len(arguments) else ""
            return after if after and not after.startswith("-") and "=" not in after else "VALUE"
    return "VALUE"
