"""Formats of picture files: the extensions that are looked for, and what the first bytes of a file say that it is."""

from __future__ import annotations

FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WebP": (".webp",),
    "PNM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG 2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
    "HEIC": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
}
"""The formats that are read, and their extensions."""

IMAGE_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""Extensions (any case) by which a folder's images are told from its other files."""

OTHER_IMAGES = frozenset((
    ".jxl", ".tga", ".psd", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".svs", ".ndpi", ".dcm",
))  # fmt: skip
"""Extensions of picture formats that are not read."""

_STARTS = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"BM": "BMP", b"GIF8": "GIF", b"II*\0": "TIFF",
    b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000", **{b"P%d" % kind: "PNM" for kind in range(1, 7)},
}  # fmt: skip
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"),
}
"""Brands of a file whose first box is `ftyp` (ISO/IEC 23008-12, the AVIF specification)."""


def file_format(data: bytes) -> str:
    r"""The format that the first bytes show (a key of `FORMATS`); "" for an unknown one.

    >>> file_format(b"\x89PNG\r\n\x1a\n..."), file_format(b"GIF89a"), file_format(b"text")
    ('PNG', 'GIF', '')
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        brands = [data[8:12], *(data[at : at + 4] for at in range(16, min(int.from_bytes(data[:4], "big"), 96), 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "")
    return next((name for start, name in _STARTS.items() if data.startswith(start)), "")
