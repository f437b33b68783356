"""The configs that come with the package: their names, what they are, and their text."""

from __future__ import annotations

from pathlib import Path

from toolkit.errors import ConfigError, Problem, did_you_mean

_PACKAGE = Path(__file__).parents[1]


def shipped_configs() -> dict[str, str]:
    """{name: first sentence of its comment}, sorted; those of a folder as `tiny/unet_shapes`."""
    folder = _folder()
    names = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))
    return {name: _summary(folder / f"{name}.yaml") for name in sorted(names, key=lambda name: (name.count("/"), name))}


def shipped_text(name: str) -> str:
    """The text of a config by its name, with or without its folder, ending and `configs/`. Raises ConfigError, with near names."""
    known = list(shipped_configs())
    asked = name.removeprefix("configs/").removesuffix(".yaml").removesuffix(".yml")
    by_stem = [one for one in known if one.rpartition("/")[2] == asked]
    if asked not in known and len(by_stem) != 1:
        near = did_you_mean(asked, [*known, *(one.rpartition("/")[2] for one in known)])
        remedy = f"did you mean {' or '.join(by_stem)}?" if by_stem else near
        raise ConfigError(Problem("", f"no config is called '{name}'", remedy or "toolkit list configs names them"))
    return (_folder() / f"{asked if asked in known else by_stem[0]}.yaml").read_text(encoding="utf-8")


def _folder() -> Path:
    """In a wheel the configs lie in the package, in a checkout beside it."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def _summary(path: Path) -> str:
    """The comment at the top, up to the end of its first sentence."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or not line.strip("# "):
            break
        lines.append(line.strip("# "))
    text = " ".join(lines)
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]
