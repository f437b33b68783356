"""What stands before every verb that takes a CONFIG: mistakes in it are told before torch is waited for.

The signatures that an earlier check left in the user's cache are enough to find every mistake that the whole check
finds. Where they are missing or do not say, the whole check runs here and leaves them for the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def refuse_mistakes(config: str, overrides: Sequence[str]) -> None:
    """Raises ConfigError with every problem of the config, as `load_config` does; says nothing of a good one."""
    from toolkit.config.checker import Checker
    from toolkit.config.config_file import read
    from toolkit.config.signature_file import load
    from toolkit.errors import ConfigError

    source = read(Path(config), overrides)
    signatures = load()
    if signatures is not None:
        try:
            Checker(source, signatures).config()
            return
        except ConfigError:
            raise
        except Exception:
            # NotOnFileError: a name of the user's own, or transforms that are not on file. Anything else: a file whose
            # types make no sense. The classes themselves will say.
            pass
    _check_whole(config, overrides, stored_transforms=signatures is not None and signatures.knows_all_transforms)


def _check_whole(config: str, overrides: Sequence[str], *, stored_transforms: bool) -> None:
    from toolkit.config.load import load_config
    from toolkit.config.signature_file import save
    from toolkit.config.signature_record import record

    try:
        load_config(config, overrides)
    finally:
        found = None if stored_transforms else record()
        if found is not None:
            save(found)
