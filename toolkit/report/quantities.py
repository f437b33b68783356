"""Numbers as people read them: 29.4 M, 106.7 G, 117 MB."""

from __future__ import annotations

import math


def short(number: float) -> str:
    """Three digits and a letter of thousands.

    >>> short(29_449_355), short(106_712_432_640), short(61), short(0), short(0.25)
    ('29.4 M', '107 G', '61', '0', '0.25')
    """
    return _scaled(number, ("", "k", "M", "G", "T", "P"), 1000.0)


def bytes_of(number: float) -> str:
    """Bytes in powers of 1024.

    >>> bytes_of(117_797_420), bytes_of(512)
    ('112 MiB', '512 B')
    """
    return _scaled(number, ("B", "KiB", "MiB", "GiB", "TiB"), 1024.0)


def _scaled(number: float, units: tuple[str, ...], base: float) -> str:
    value, power = float(number), 0
    while round(abs(value)) >= base and power < len(units) - 1:
        value /= base
        power += 1
    whole = abs(value) >= 100 or float(f"{value:.3g}") == round(value)
    digits = f"{value:.0f}" if whole else f"{value:.3g}"
    return f"{digits} {units[power]}".strip()


def percent(share: float, digits: int = 1) -> str:
    """A share from 0 to 1, for people; what is rare does not become nothing.

    >>> percent(0.2512), percent(1.0), percent(0.00004), percent(float("nan"))
    ('25.1 %', '100 %', '0.004 %', '–')
    """
    if not math.isfinite(share):
        return "–"
    if share and abs(share) < 0.001:
        return f"{100 * share:.1g} %"
    return f"{100 * share:.{digits}f}".rstrip("0").rstrip(".") + " %" if digits else f"{100 * share:.0f} %"


def round_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Steps of 1, 2 or 5 times a power of ten.

    Args:
        low: none is smaller than this.
        high: none is larger than this.
        wanted: about how many there should be.

    >>> round_ticks(0, 212)
    [0.0, 50.0, 100.0, 150.0, 200.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(step - rough))
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
