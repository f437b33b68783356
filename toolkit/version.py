"""The version, apart so that `toolkit --version` reads nothing else."""

__version__ = "0.1.0"
