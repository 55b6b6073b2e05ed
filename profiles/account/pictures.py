"""The picture of a user: checked by decoding it, and kept as three new files without anything but pixels.

No uploaded file is stored unchanged. The decoded pixels are encoded anew, so neither metadata (where a photo
was taken) nor other data hidden in the file reaches others; and the server sets the type, not the uploader. Files have
random names and are never changed: a new picture gets a new name, which is its ETag.
"""

from __future__ import annotations

import re
import secrets
import warnings
import zipfile
from functools import partial
from io import BytesIO
from pathlib import PurePosixPath

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import InMemoryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from PIL import Image, ImageOps

from ..http.requests import UserRequest, origin_of
from ..models import AccountEvent, User
from ..origin import Origin
from ..pages import reauthentication
from ..pages.base import page
from . import activity, colours

BYTES_AT_MOST = 750 * 1024
SIDE_AT_MOST = 1024
SIZES = ("icon", "normal", "small")
FITS = {"small": (32, 32), "icon": (16, 16)}
# Pillow's name of a format -> the file name extension, the media type, and the options of the encoder.
FORMATS = {
    "PNG": (".png", "image/png", {}),
    "JPEG": (".jpg", "image/jpeg", {"quality": 90}),
    "WEBP": (".webp", "image/webp", {"quality": 90}),
}
TYPES = {ending: content_type for ending, content_type, _ in FORMATS.values()}
# No program writes more scans than this. A scan can be a few bytes, and many keep the decoder busy for minutes.
SCANS_AT_MOST = 100
# An HTML page, a program or a document inside the file. Encoding would remove it, but such a file is refused.
_foreign_content = re.compile(rb"<(?:script|html|!doctype|iframe|svg)[\s>]|<\?php\b|%PDF-[12]\.", re.IGNORECASE).search


class BoundedUploadHandler(FileUploadHandler):
    """Keeps an upload in memory up to the largest size of a picture, and discards the rest.

    It is the only upload handler, for all pages: no file can fill the disk or the memory. It reports the true size, so
    a file that was cut off is refused for its size.
    """

    def handle_raw_input(self, *args: object, **kwargs: object) -> None:
        self.room = BYTES_AT_MOST + 1

    def new_file(self, *args: object, **kwargs: object) -> None:
        super().new_file(*args, **kwargs)  # type: ignore[arg-type]
        self.file = BytesIO()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.room -= self.file.write(raw_data[: self.room])

    def file_complete(self, file_size: int) -> UploadedFile:
        self.file.seek(0)
        return InMemoryUploadedFile(
            self.file, self.field_name, self.file_name, self.content_type, file_size, self.charset
        )


def read(data: bytes) -> tuple[str, dict[str, bytes]]:
    """The file name extension and the file of each size, made from an uploaded picture. Raises ValidationError."""
    unreadable = ValidationError(_("This is no PNG, JPEG or WebP picture, or it is damaged. Choose another one."))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are unusual but readable
            image = Image.open(BytesIO(data), formats=tuple(FORMATS))
    except Image.DecompressionBombError as error:
        raise ValidationError(
            _("The picture is much too large. It may have %(most)s pixels on each side at most."),
            params={"most": SIDE_AT_MOST},
        ) from error
    except Exception as error:  # decoders raise exceptions of any type
        raise unreadable from error
    if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > SCANS_AT_MOST:
        raise unreadable
    # The size is in the header of the file: known before any pixel is decoded.
    if max(image.size) > SIDE_AT_MOST:
        raise ValidationError(
            _("The picture has %(width)s by %(height)s pixels. It may have %(most)s on each side at most."),
            params={"width": image.width, "height": image.height, "most": SIDE_AT_MOST},
        )
    # A JPEG with several pictures (MPO) is a photo with a preview, and its first picture is the photo.
    is_photo = image.format == "MPO"
    if getattr(image, "is_animated", False) and not is_photo:
        raise ValidationError(_("The picture is animated. Choose one that stands still."))
    if _foreign_content(data) or zipfile.is_zipfile(BytesIO(data)):
        raise ValidationError(_("There is more than a picture in this file. Save it anew, or choose another one."))
    ending, _type, options = FORMATS["JPEG" if is_photo else str(image.format)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = _only_pixels(image, transparency=ending != ".jpg")
            return ending, {size: _encoded(pixels, size, ending, options) for size in SIZES}
    except Exception as error:
        raise unreadable from error


def _only_pixels(image: Image.Image, *, transparency: bool) -> Image.Image:
    """The picture the right way up, in the colours of all screens, with no metadata of any kind."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "I;16":  # 16-bit grey, which Pillow would clip to the range of 8 bits
        upright = upright.point(lambda value: value * (1 / 257)).convert("L")
    mode = "RGBA" if transparency and upright.has_transparency_data else "RGB"
    converted = colours.in_srgb(upright, image.info.get("icc_profile"), mode)
    return Image.frombytes(mode, converted.size, converted.tobytes())


def _encoded(pixels: Image.Image, size: str, ending: str, options: dict[str, int]) -> bytes:
    if size in FITS:
        pixels = pixels.copy()
        pixels.thumbnail(FITS[size], Image.Resampling.LANCZOS)
    file = BytesIO()
    pixels.save(file, next(name for name, (its, *_) in FORMATS.items() if its == ending), **options)
    return file.getvalue()


def _name(normal: str, size: str) -> str:
    """The name of the file of a size; `User.picture` has that of the normal one."""
    path = PurePosixPath(normal)
    return normal if size == "normal" else str(path.with_name(f"{path.stem}-{size}{path.suffix}"))


# --- Keeping ----------------------------------------------------------------------------------------------


def change(*, owner: User, picture: tuple[str, dict[str, bytes]] | None, origin: Origin) -> None:
    """Give `owner` this picture, or none. The files of the former one are removed after the commit."""
    name = ""
    if picture:
        ending, files = picture
        name = f"pictures/{secrets.token_hex(16)}{ending}"
        for size, content in files.items():
            default_storage.save(_name(name, size), ContentFile(content))
    try:
        with transaction.atomic():
            # Locked, so that of two changes at the same time the second one sees, and removes, the files of the first.
            row = User.objects.select_for_update().only("picture").get(pk=owner.pk)
            transaction.on_commit(partial(remove_files, row.picture.name or ""), robust=True)
            User.objects.filter(pk=owner.pk).update(picture=name)
            if name or row.picture:
                action = AccountEvent.Action.PICTURE_CHANGED if name else AccountEvent.Action.PICTURE_REMOVED
                activity.record(action, owner=owner, origin=origin)
    except BaseException:
        remove_files(name)
        raise


def remove_files(name: str) -> None:
    """Delete a picture's files."""
    if name:
        for size in SIZES:
            default_storage.delete(_name(name, size))


def file_of(picture: str, size: str) -> str:
    """The name under which this size of a picture is stored; `picture` is what the user's column says."""
    return _name(picture, size)


# --- The page ---------------------------------------------------------------------------------------------


class PictureForm(forms.Form):
    picture = forms.FileField(
        label=gettext_lazy("New picture"),
        error_messages={
            "required": gettext_lazy("Choose a picture."),
            "empty": gettext_lazy("This file is empty. Choose another one."),
        },
        widget=forms.FileInput(attrs={"accept": ",".join(TYPES.values())}),
    )

    def clean_picture(self) -> tuple[str, dict[str, bytes]]:
        upload: UploadedFile = self.cleaned_data["picture"]
        if (upload.size or 0) > BYTES_AT_MOST:
            raise ValidationError(_("The file is larger than 750 KB. Choose a smaller one."))
        return read(upload.read())


@page("GET", "HEAD", "POST")
@reauthentication.required()
def edit(request: UserRequest) -> HttpResponse:
    form = PictureForm()
    if request.method == "POST":
        form = PictureForm(request.POST, request.FILES)
        if form.is_valid():
            change(owner=request.user, picture=form.cleaned_data["picture"], origin=origin_of(request))
            messages.success(request, _("Your picture was changed."))
            return redirect("profile")
        form.fields["picture"].widget.attrs["autofocus"] = True
    return render(request, "profiles/picture.html", {"form": form}, status=422 if form.is_bound else 200)


@page("POST")
@reauthentication.required(back="picture-edit")
def remove(request: UserRequest) -> HttpResponse:
    change(owner=request.user, picture=None, origin=origin_of(request))
    messages.success(request, _("Your picture was removed."))
    return redirect("profile")
