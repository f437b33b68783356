"""What older versions of libraries cannot do, for the tests that depend on it."""

from __future__ import annotations

import cv2
import torch
from packaging.version import Version

OLD_TORCH = Version(torch.__version__).release < (2, 14)
"""Whether PyTorch is older than 2.14."""

WARP_STEP = 1 / 32 if Version(cv2.__version__).major < 5 else 0.0
"""Pixels to which OpenCV's affine warp rounds the places that it reads: before version 5 it used a table."""
