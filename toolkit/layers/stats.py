"""Pixel statistics for another number of channels."""

from __future__ import annotations

from toolkit.contracts import PixelStats


def stats_for_channels(stats: PixelStats, channels: int) -> PixelStats:
    """The same statistics when the count is the same, else their average for each channel.

    >>> stats_for_channels(PixelStats((0.25, 0.35), (0.5, 0.5)), 1).mean
    (0.3,)
    """
    if channels == len(stats.mean):
        return PixelStats(tuple(stats.mean), tuple(stats.std), stats.bgr)
    mean, std = sum(stats.mean) / len(stats.mean), sum(stats.std) / len(stats.std)
    return PixelStats((mean,) * channels, (std,) * channels)
