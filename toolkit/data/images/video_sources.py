"""Videos among what a user names: each becomes the pictures of its frames."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from toolkit.data.images.formats import IMAGE_SUFFIXES
from toolkit.data.images.picture import Picture
from toolkit.data.images.videos import VIDEO_SUFFIXES, Every, Video
from toolkit.errors import DataError, Problem, UserError


class VideoFrames(Sequence[Picture]):
    """The frames of a video that are taken, each a `Picture` only when it is asked for.

    Args:
        video: the file, whose index is read already.
        every: which of its frames are taken.
    """

    def __init__(self, video: Video, every: Every) -> None:
        self.video, self._frames = video, video.frames(every)

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> list[Picture]: ...
    def __getitem__(self, index: int | slice) -> Picture | list[Picture]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        frame = self._frames[index]
        return Picture(self.video.path, frame.name, frame=frame)

    @property
    def notes(self) -> list[str]:
        """What is missing of the file, and how many frames are taken."""
        told = [self.video.note] if self.video.note else []
        if len(self) < len(self.video):
            told.append(f"{self.video.path}: {len(self)} of {len(self.video)} frames are taken (--every)")
        return told


def with_videos(sources: Sequence[Any], every: Every | None) -> list[Any]:
    """The sources, videos among them as `VideoFrames`, also those that a glob matches; folders are left as they are.

    Two videos of one name get results of their own: the second is called `film.mp4_2`. Raises DataError, all at once, for
    videos that cannot be read, and where `every` is given and no video is named.

    Args:
        sources: what a user named: files, folders, globs; others, as arrays, pass as they are.
        every: which frames are taken; None: all.
    """
    found: list[Any] = []
    names: set[str] = set()
    problems: list[Problem] = []
    for source in sources:
        named = _named_by(source)
        videos = [path for path in named if _is_video(path)]
        for path in videos:
            try:
                video = Video(path)
            except UserError as error:
                problems += error.problems
                continue
            number = 1
            while video.name in names:
                number += 1
                video.name = f"{path.name}_{number}"
            names.add(video.name)
            found.append(VideoFrames(video, every or Every()))
        if not videos or any(path.suffix.lower() in IMAGE_SUFFIXES for path in named):
            found.append(source)
    if every is not None and not names and not problems:
        problems.append(Problem("--every", "is for videos, and none is named", "leave it out"))
    if problems:
        raise DataError(problems)
    return found


def _named_by(source: Any) -> list[Path]:
    """The files that a path or a glob names."""
    if not isinstance(source, (str, os.PathLike)):
        return []
    if glob.has_magic(str(source)) and not Path(source).exists():
        return sorted(map(Path, glob.glob(str(source), recursive=True)))  # noqa: PTH207 - absolute patterns too
    return [Path(source)]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
