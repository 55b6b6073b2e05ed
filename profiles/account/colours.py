"""The colour profile of a picture (ICC.1): the pixels are converted to sRGB, then the profile is dropped.

Without that a photo of a phone (Display P3) or of a camera (Adobe RGB) looks dull, and one made for print wrong. A
profile that is damaged, of another kind than the picture, or shorter than it claims is ignored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from math import prod

from PIL import Image, ImageCms

_HEADER, _TAGS_AT_MOST = 128, 100
# The colour space of a profile -> the mode of a picture in it.
_MODES = {b"RGB ": "RGB", b"CMYK": "CMYK", b"GRAY": "L"}
_GREY = ("1", "L", "LA", "I")


def in_srgb(image: Image.Image, profile: bytes | None, mode: str) -> Image.Image:
    """The picture in `mode`, RGB or RGBA, and in the colours that every screen shows."""
    source = _mode_of(image, profile) if profile else None
    if profile is None or source is None:
        return image.convert(mode)
    try:
        meant = ImageCms.ImageCmsProfile(BytesIO(profile))
        to_srgb = ImageCms.buildTransform(meant, ImageCms.createProfile("sRGB"), source, "RGB")
        converted = to_srgb.apply(image.convert(source))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image.convert(mode)
    if mode == "RGBA":
        converted.putalpha(image.convert("RGBA").getchannel("A"))
    return converted


def _mode_of(image: Image.Image, profile: bytes) -> str | None:
    """The mode of the picture to which this profile applies, or None."""
    mode = _MODES.get(profile[16:20])
    is_grey, is_print = image.mode in _GREY, image.mode == "CMYK"
    fits = {"RGB": not is_print, "CMYK": is_print, "L": is_grey}
    return mode if mode and fits[mode] and _is_bounded(profile) else None


def _is_bounded(profile: bytes) -> bool:
    """Whether using the profile takes no more memory than its own size.

    A table of colours declares its size, and memory is allocated for that before it is read: a few bytes could ask
    for hundreds of megabytes.
    """
    try:
        return all(_is_bounded_table(data) for name, data in _tags(profile) if name[:3] in (b"A2B", b"D2B"))
    except (struct.error, IndexError):
        return False


def _tags(profile: bytes) -> Iterator[tuple[bytes, bytes]]:
    (count,) = struct.unpack_from(">I", profile, _HEADER)
    if count > _TAGS_AT_MOST:
        raise IndexError
    for number in range(count):
        name, start, length = struct.unpack_from(">4sII", profile, _HEADER + 4 + 12 * number)
        yield name, profile[start : start + length]


def _is_bounded_table(data: bytes) -> bool:
    kind, inputs, outputs, points = data[:4], data[8], data[9], data[10]
    if kind == b"mft1":
        return outputs * points**inputs <= len(data)
    if kind == b"mft2":
        return 2 * outputs * points**inputs <= len(data)
    if kind == b"mAB ":
        (table,) = struct.unpack_from(">I", data, 24)
        return not table or data[table + 16] * outputs * prod(data[table : table + inputs]) <= len(data)
    return False  # "mpet", a chain of any number of steps, or an unknown type
