"""Annotation formats as they lie on disk, and what every mask and box data set makes of them."""
