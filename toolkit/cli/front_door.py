"""What stands before the verbs: mistakes in a config or on the command line are told before torch is waited for.

The signatures that an earlier check left in the user's cache are enough to find every mistake that the whole check
finds. Where they are missing or do not say, the whole check runs here and leaves them for the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.config.signature_file import StoredSignatures
    from toolkit.config.source import Source


def refuse_mistakes(config: str, overrides: Sequence[str]) -> None:
    """Raises ConfigError with every problem of a config file, as `load_config` does; says nothing of a good one."""
    from toolkit.config.config_file import read
    from toolkit.config.signature_file import load

    source = read(Path(config), overrides)
    signatures = load()
    if not _is_answered(source, signatures):
        _check_whole(config, overrides, stored=signatures)


def refuse_wrong_path(checkpoint: str, overrides: Sequence[str] = ()) -> None:
    """Raises CheckpointError for a path without weights, ConfigError for overrides that do not fit the config in them.

    A file that is damaged is left to be found by whoever reads it whole.
    """
    from toolkit.config.overrides import override
    from toolkit.config.signature_file import load
    from toolkit.config.source import parse
    from toolkit.config.weights_path import stored_config, weights_file

    file = weights_file(checkpoint)
    text = stored_config(file) if overrides else None
    if text is not None:
        source = parse(text, f"{file} (config)")
        override(source, overrides)
        _is_answered(source, load())


def _is_answered(source: Source, signatures: StoredSignatures | None) -> bool:
    """Whether the signatures on file say that a config is sound. Raises ConfigError when they say that it is not."""
    from toolkit.config.checker import Checker
    from toolkit.errors import ConfigError

    if signatures is None:
        return False
    try:
        Checker(source, signatures).config()
    except ConfigError:
        raise
    except Exception:
        # NotOnFileError: a name of the user's own, or transforms that are not on file. Anything else: a file whose
        # types make no sense. The classes themselves will say.
        return False
    return True


def _check_whole(config: str, overrides: Sequence[str], stored: StoredSignatures | None) -> None:
    from toolkit.config.load import load_config
    from toolkit.config.signature_file import save
    from toolkit.config.signature_record import record

    try:
        load_config(config, overrides)
    finally:
        complete = stored is not None and stored.knows_all_transforms
        found = None if complete else record()
        if found is not None:
            save(found)
