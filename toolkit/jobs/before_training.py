"""What contradicts itself or is missing on this machine, told before a run folder is made."""

from __future__ import annotations

from toolkit.config.sections import Config
from toolkit.engine.loggers import missing_packages
from toolkit.errors import ConfigError, Problem


def check_before_training(config: Config) -> None:
    """Raises ConfigError with every setting of `train` that cannot do what it says."""
    problems = [*_patience(config), *missing_packages(config.train.loggers)]
    if problems:
        raise ConfigError(problems)


def _patience(config: Config) -> list[Problem]:
    """Early stopping counts evaluations, so there have to be some."""
    if config.train.patience is None:
        return []
    lacking = {
        "data.val": config.data.val is None,
        "evaluate.evaluators": not config.evaluate.evaluators,
        "train.evaluate_every": config.train.evaluate_every is None,
    }
    names = [name for name, is_lacking in lacking.items() if is_lacking]
    if not names:
        return []
    message = "counts evaluations during training, but there are none"
    return [Problem("train.patience", message, f"set {', '.join(names)}, or train.patience=null")]
