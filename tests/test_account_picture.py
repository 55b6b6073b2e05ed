"""The picture: what is taken, what of it is kept, and who gets to see it."""

from __future__ import annotations

import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image, ImageCms

from profiles.models import Company, User

from .api import assert_api_error, call, challenge, get
from .conftest import PASSWORD, make_key, make_token, sign_in
from .page import PROFILE, Response, Tags, html, words
from .test_openapi import check_answer

pytestmark = pytest.mark.django_db

EDIT, REMOVE = "/profile/picture/", "/profile/picture/remove/"
ADDRESS = "/api/v1/users/{uid}/picture/{size}"
RIGHT = "accountNetwork.users.view"
ORIENTATION, ARTIST = 0x0112, 0x013B


@pytest.fixture(autouse=True)
def media(settings, tmp_path) -> Path:
    settings.MEDIA_ROOT = str(tmp_path / "media")
    return tmp_path / "media" / "pictures"


def picture(kind: str = "PNG", size: tuple[int, int] = (200, 100), **options: Any) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, "teal").save(file, kind, **options)
    return file.getvalue()


def upload(client: Client, content: bytes, name: str = "me.png") -> Response:
    return client.post(EDIT, {"picture": SimpleUploadedFile(name, content, "image/png")})


def address(user: User, size: str = "normal") -> str:
    return ADDRESS.format(uid=user.uid, size=size)


@pytest.fixture
def pictured(user, signed_in) -> User:
    assert upload(signed_in, picture()).status_code == 302
    user.refresh_from_db()
    return user


@pytest.mark.parametrize(
    ("kind", "content_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_a_picture_is_kept_in_three_sizes_and_shown(kind, content_type, user, signed_in, media):
    page = html(signed_in.get(PROFILE))
    assert ">UU</span>" in page
    response = signed_in.post(
        EDIT, {"picture": SimpleUploadedFile("<b>.html", picture(kind), "text/html")}, follow=True
    )
    assert "Your picture was changed." in words(response)
    shown = [it for it in Tags(html(response))["img"] if it["src"] == address(user)]
    assert [it["alt"] for it in shown] == ["", ""]  # on the card and in the menu
    for size, fits in (("normal", (200, 100)), ("small", (32, 16)), ("icon", (16, 8))):
        answer = signed_in.get(address(user, size))
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert Image.open(BytesIO(answer.content)).size == fits
    assert len(list(media.iterdir())) == 3


def test_nothing_but_pixels_is_kept(user, signed_in):
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = 6, "somewhere in Lyon"
    content = picture("JPEG", exif=exif, icc_profile=b"profile", comment=b"secret comment")
    assert upload(signed_in, content + b"appended").status_code == 302
    kept = signed_in.get(address(user)).content
    image = Image.open(BytesIO(kept))
    assert image.size == (100, 200)  # turned upright
    assert not image.getexif()
    assert not {"exif", "icc_profile", "comment"} & set(image.info)
    for left in (b"Lyon", b"comment", b"appended"):
        assert left not in kept


def test_transparency_is_kept(user, signed_in):
    file = BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(file, "PNG")
    upload(signed_in, file.getvalue())
    assert Image.open(BytesIO(signed_in.get(address(user)).content)).mode == "RGBA"


def test_sixteen_bits_of_grey_become_eight(user, signed_in):
    file = BytesIO()
    Image.new("I;16", (9, 9), 0x8080).save(file, "PNG")
    upload(signed_in, file.getvalue())
    assert Image.open(BytesIO(signed_in.get(address(user)).content)).getpixel((4, 4)) == (0x80, 0x80, 0x80)


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    file = BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


def bomb() -> bytes:
    """A few bytes that say they are 50,000 pixels on each side."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def text_bomb() -> bytes:
    """A picture with a text that unpacks to 5 MB."""
    whole = picture()
    text = b"a\0\0" + zlib.compress(bytes(5_000_000))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    return whole[:33] + chunk + whole[33:]


def scan_bomb() -> bytes:
    """A picture whose last pass over all pixels comes some 60,000 times: more than a minute for the decoder."""
    whole = picture("JPEG", (1024, 1024), progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * ((750 * 1024 - len(whole)) // len(last)) + whole[-2:]


def archive() -> bytes:
    """A picture that is a ZIP archive, too."""
    file = BytesIO(picture())
    with zipfile.ZipFile(file, "a") as both:
        both.writestr("run.me", "1")
    return file.getvalue()


REFUSED = {
    "nothing": (None, "Choose a picture."),
    "empty": (b"", "This file is empty."),
    "too large": (picture() + bytes(750 * 1024), "larger than 750 KB"),
    "too wide": (picture(size=(1025, 1)), "1025 by 1 pixels"),
    "a bomb": (bomb(), "much too large"),
    "a bomb of text": (text_bomb(), "damaged"),
    "a bomb of scans": (scan_bomb(), "damaged"),
    "cut short": (picture("JPEG", (300, 300))[:-100], "damaged"),
    "cut short, PNG": (picture("PNG", (300, 300))[:-60], "damaged"),
    "cut short, WebP": (picture("WEBP", (300, 300))[:-20], "damaged"),
    "animated PNG": (animated("PNG"), "animated"),
    "animated WebP": (animated("WEBP"), "animated"),
    "GIF": (picture("GIF"), "no PNG, JPEG or WebP"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', "no PNG, JPEG or WebP"),
    "a page": (b"<!doctype html><script>1</script>", "no PNG, JPEG or WebP"),
    "a page behind a picture": (picture() + b"<script>alert(1)</script>", "more than a picture"),
    "a document behind a picture": (picture() + b"%PDF-1.7", "more than a picture"),
    "an archive behind a picture": (archive(), "more than a picture"),
    "a page in a picture": (picture("JPEG", comment=b"<SVG onload=alert(1)>"), "more than a picture"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_proper_picture_is_refused_with_a_reason(what, user, signed_in, media):
    content, says = REFUSED[what]
    response = signed_in.post(EDIT) if content is None else upload(signed_in, content)
    assert response.status_code == 422
    assert says in words(response)
    (field,) = [it for it in Tags(html(response))["input"] if it.get("type") == "file"]
    assert field["aria-invalid"] == "true"
    assert not User.objects.get(pk=user.pk).picture
    assert not media.exists()


def test_another_picture_takes_the_place_of_the_first(pictured, signed_in, media, django_capture_on_commit_callbacks):
    first = set(media.iterdir())
    with django_capture_on_commit_callbacks(execute=True):
        upload(signed_in, picture("JPEG"))
    assert len(list(media.iterdir())) == 3
    assert not first & set(media.iterdir())


def test_a_picture_can_be_removed(pictured, signed_in, media, django_capture_on_commit_callbacks):
    assert "Remove" in words(signed_in.get(EDIT))
    assert signed_in.get(REMOVE).status_code == 405
    with django_capture_on_commit_callbacks(execute=True):
        assert "Your picture was removed." in words(signed_in.post(REMOVE, follow=True))
    assert not list(media.iterdir())
    assert_api_error(signed_in.get(address(pictured)), 404, "resource.unknown")
    assert "Remove" not in words(signed_in.get(EDIT))


def test_a_picture_goes_with_its_user(pictured, admin_user, rf, media, django_capture_on_commit_callbacks):
    request = rf.post("/")
    request.user = admin_user
    with django_capture_on_commit_callbacks(execute=True):
        admin.site.get_model_admin(User).delete_model(request, pictured)
    assert not list(media.iterdir())


def test_what_fails_half_way_leaves_no_files(pictured, signed_in, media, monkeypatch):
    before = set(media.iterdir())
    monkeypatch.setattr("profiles.account.pictures.transaction.on_commit", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        upload(signed_in, picture())
    assert set(media.iterdir()) == before


# --- Its colours ------------------------------------------------------------------------------------------

Numbers = tuple[float, float, float]
D50 = (0.9642, 1.0, 0.8249)
DISPLAY_P3 = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}
SRGB = {
    b"rXYZ": (0.43607, 0.22249, 0.01392),
    b"gXYZ": (0.38515, 0.71687, 0.09708),
    b"bXYZ": (0.14307, 0.06061, 0.71410),
}
SWAPPED = {b"rXYZ": SRGB[b"bXYZ"], b"gXYZ": SRGB[b"gXYZ"], b"bXYZ": SRGB[b"rXYZ"]}
SRGB_CURVE = struct.pack(
    ">4sIHH5i", b"para", 0, 3, 0, *(round(n * 65536) for n in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)
STRAIGHT = struct.pack(">4sII", b"curv", 0, 0)


def xyz(*numbers: float) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *(round(number * 65536) for number in numbers))


def profile(space: bytes, tags: dict[bytes, bytes], *, kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    """A colour profile (ICC.1:2022 section 7)."""
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s12s4s", start + len(body), b"", 0x04300000, kind, space, pcs, b"", b"acsp")
    return head.ljust(68, b"\0") + xyz(*D50)[8:] + bytes(48) + table + body


def of_rgb(primaries: dict[bytes, Numbers]) -> bytes:
    tags = {name: xyz(*numbers) for name, numbers in primaries.items()}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), SRGB_CURVE)
    return profile(b"RGB ", {b"wtpt": xyz(*D50), **tags, **curves})


def table(inputs: int, points: int, *, kind: bytes = b"mft1", colour: bytes = b"\x80\x4e\xb2", entries: int) -> bytes:
    """A table of colours that all are this one, in L*a*b*; by itself a green."""
    straight = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if n % 4 == 0 else 0 for n in range(9)))
    head = struct.pack(">4sIBBBx", kind, 0, inputs, 3, points)
    return head + matrix + straight * inputs + colour * entries + straight * 3


GREY = profile(b"GRAY", {b"wtpt": xyz(*D50), b"kTRC": STRAIGHT})
PRINT = profile(b"CMYK", {b"A2B0": table(4, 2, entries=16)}, kind=b"prtr", pcs=b"Lab ")
COLOUR = (200, 100, 50)


def kept_colour(client: Client, user: User, image: Image.Image, kind: str, icc: bytes) -> tuple[int, ...]:
    file = BytesIO()
    image.save(file, kind, icc_profile=icc, **({"quality": 100} if kind != "PNG" else {}))
    assert upload(client, file.getvalue()).status_code == 302
    kept = Image.open(BytesIO(client.get(address(user)).content))
    assert "icc_profile" not in kept.info
    pixel = kept.getpixel((4, 4))
    assert isinstance(pixel, tuple)
    return pixel


def is_about(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(found) == len(expected) and all(abs(a - b) <= 4 for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("icc", "expected"),
    [
        (of_rgb(SRGB), (200, 100, 100)),
        (of_rgb(SWAPPED), (100, 100, 200)),
        (of_rgb(DISPLAY_P3), (215, 93, 97)),
    ],
    ids=["sRGB", "channels swapped", "Display P3"],
)
def test_colours_are_those_of_the_profile(kind, icc, expected, user, signed_in):  # security 81
    image = Image.new("RGB", (9, 9), (200, 100, 100))
    assert is_about(kept_colour(signed_in, user, image, kind, icc), expected)


def test_colours_of_a_print_a_grey_and_a_palette_are_too(user, signed_in):
    cyan = Image.new("CMYK", (9, 9), (255, 0, 0, 0))
    red, green, blue = kept_colour(signed_in, user, cyan, "JPEG", PRINT)
    assert green > red + 40 > blue
    assert is_about(kept_colour(signed_in, user, Image.new("L", (9, 9), 128), "PNG", GREY), (188, 188, 188))
    assert is_about(kept_colour(signed_in, user, Image.new("L", (9, 9), 128), "JPEG", GREY), (188, 188, 188))
    deep = Image.new("I;16", (9, 9), 0x8080)
    assert is_about(kept_colour(signed_in, user, deep, "PNG", GREY), (188, 188, 188))
    few = Image.new("RGB", (9, 9), COLOUR).convert("P", palette=Image.Palette.ADAPTIVE)
    assert is_about(kept_colour(signed_in, user, few, "PNG", of_rgb(SWAPPED)), (50, 100, 200))


def test_transparency_outlives_the_profile(user, signed_in):
    image = Image.new("RGBA", (9, 9), (*COLOUR, 77))
    assert is_about(kept_colour(signed_in, user, image, "PNG", of_rgb(SWAPPED)), (50, 100, 200, 77))
    grey = Image.new("LA", (9, 9), (128, 77))
    assert is_about(kept_colour(signed_in, user, grey, "PNG", GREY), (188, 188, 188, 77))


USELESS = {
    "no profile": b"profile",
    "cut short": of_rgb(SWAPPED)[:200],
    "without its end": of_rgb(SWAPPED)[:-40],
    "of a print": PRINT,
    "of greys": GREY,
    "of no colours": profile(b"Lab ", {}, pcs=b"Lab "),
    "empty": profile(b"RGB ", {}),
    "a link": profile(b"RGB ", {b"A2B0": table(3, 2, entries=8)}, kind=b"link", pcs=b"RGB "),
    "very many tags": of_rgb(SWAPPED)[:128] + b"\xff" * 400,
}


@pytest.mark.parametrize("what", USELESS)
def test_a_profile_that_is_none_for_this_picture_does_no_harm(what, user, signed_in):
    image = Image.new("RGB", (9, 9), COLOUR)
    assert is_about(kept_colour(signed_in, user, image, "PNG", USELESS[what]), COLOUR)


def long_table(*, kind: bytes) -> bytes:
    """It says that it has 255 points on each side, which are 50 million numbers; and has eight."""
    if kind in (b"mft1", b"mft2"):
        return table(3, 255, kind=kind, entries=8)
    head = struct.pack(">4sIBBxx5I", kind, 0, 3, 3, 32, 32, 32, 32, 32)
    return head + bytes([255] * 3 + [0] * 13) + b"\2\0\0\0" + bytes(48)


@pytest.mark.parametrize("kind", [b"mft1", b"mft2", b"mAB ", b"mpet", b"what"])
def test_a_profile_that_asks_for_more_than_it_is_is_not_worked_with(kind, user, signed_in, monkeypatch):
    monkeypatch.setattr(ImageCms, "buildTransform", lambda *_: pytest.fail("room was made for it"))
    icc = profile(b"RGB ", {b"A2B0": long_table(kind=kind)}, pcs=b"Lab ")
    assert is_about(kept_colour(signed_in, user, Image.new("RGB", (9, 9), COLOUR), "PNG", icc), COLOUR)


# --- Who sees it ------------------------------------------------------------------------------------------


@pytest.fixture
def stranger(access_profile) -> User:
    return User.objects.create_user(
        "stranger@example.com",
        PASSWORD,
        name="Sue Stranger",
        company=Company.objects.create(name="Others Ltd"),
        access_profile=access_profile,
    )


def test_a_session_of_the_same_company_sees_it_and_no_other(pictured, other_user, stranger, admin_user):
    assert sign_in(Client(), other_user).get(address(pictured)).status_code == 200
    for somebody in (stranger, admin_user):
        assert_api_error(sign_in(Client(), somebody).get(address(pictured)), 404, "resource.unknown")
    assert_api_error(Client().get(address(pictured)), 401, "token.missing")
    nobody = Client()
    nobody.cookies["session"] = "a" * 32
    assert_api_error(nobody.get(address(pictured)), 401, "token.missing")


def test_who_has_no_company_is_alone(pictured, other_user, signed_in):
    User.objects.update(company=None)
    assert signed_in.get(address(pictured)).status_code == 200
    assert sign_in(Client(), other_user).get(address(pictured)).status_code == 404


def test_a_session_ends_here_too_with_the_password_or_the_user(pictured, signed_in):
    User.objects.filter(pk=pictured.pk).update(is_active=False)
    assert signed_in.get(address(pictured)).status_code == 401
    User.objects.filter(pk=pictured.pk).update(is_active=True, password="changed")
    assert signed_in.get(address(pictured)).status_code == 401


def test_a_token_sees_its_owners_and_with_the_right_the_companys(pictured, other_user, stranger, access_profile):
    token = make_token(make_key(other_user))
    assert get(address(pictured), token).status_code == 200
    assert_api_error(get(address(pictured), make_token(make_key(stranger))), 404, "resource.unknown")
    access_profile.rights = []
    access_profile.save()
    refused = get(address(pictured), token)
    assert assert_api_error(refused, 403, "right.missing")["errorParameters"] == [RIGHT]
    assert challenge(refused)["scope"] == RIGHT
    check_answer(refused, ADDRESS)
    assert get(address(pictured), make_token(make_key(pictured))).status_code == 200  # their own


SEEN = {
    # by whom: with the right, without it
    "own": (200, 200),
    "colleague": (200, 403),
    "other company": (404, 403),
    "no such user": (404, 403),
    "no uid": (404, 403),
}


@pytest.mark.parametrize("whose", SEEN)
@pytest.mark.parametrize("has_right", [True, False])
def test_one_rule_decides_by_session_and_by_token(whose, has_right, pictured, other_user, stranger, access_profile):
    """Security 81: whose picture, with the right to view users or without it."""
    for each in (other_user, stranger):
        assert upload(sign_in(Client(), each), picture()).status_code == 302
    if not has_right:
        access_profile.rights = ["entities.systems.view"]
        access_profile.save()
    uid = {
        "own": pictured.uid,
        "colleague": other_user.uid,
        "other company": stranger.uid,
        "no such user": "0" * 32,
        "no uid": "%00",
    }[whose]
    path = ADDRESS.format(uid=uid, size="icon")
    expected = SEEN[whose][0 if has_right else 1]
    pair = make_key(pictured)
    by_session, by_token = sign_in(Client(), pictured).get(path), get(path, make_token(pair))
    assert (by_session.status_code, by_token.status_code) == (expected, expected)
    if expected != 200:
        assert by_session.content == by_token.content
        check_answer(by_session, ADDRESS)
        assert "ETag" not in by_session.headers
    # A token for less is as one without the right.
    assert get(path, make_token(pair, "entities.systems.view")).status_code == SEEN[whose][1]


def test_who_has_no_company_sees_nobody_elses_by_either_way(pictured, other_user, stranger):
    User.objects.update(company=None)
    for path in (address(pictured), address(stranger)):
        assert_api_error(sign_in(Client(), other_user).get(path), 404, "resource.unknown")
    assert_api_error(get(address(pictured), make_token(make_key(other_user))), 404, "resource.unknown")


def test_a_right_that_is_taken_away_is_gone_at_the_next_picture(pictured, other_user, access_profile):
    client = sign_in(Client(), other_user)
    etag = client.get(address(pictured)).headers["ETag"]
    access_profile.rights = []
    access_profile.save()
    assert client.get(address(pictured), headers={"If-None-Match": etag}).status_code == 403
    User.objects.filter(pk=other_user.pk).update(is_active=False)
    assert client.get(address(pictured)).status_code == 401


def test_a_session_does_not_help_a_token_that_is_none(pictured, signed_in):
    response = signed_in.get(address(pictured), headers={"Authorization": "Bearer nonsense"})
    assert_api_error(response, 401, "token.invalid")
    check_answer(response, ADDRESS)


def test_what_is_not_there_is_404_and_another_method_405(pictured, signed_in, other_user):
    token = make_token(make_key(pictured))
    for path in (address(pictured, "huge"), address(other_user), ADDRESS.format(uid="%00", size="icon")):
        for response in (signed_in.get(path), get(path, token)):
            assert_api_error(response, 404, "resource.unknown")
            check_answer(response, ADDRESS)
    default_storage.delete(pictured.picture.name)
    assert_api_error(signed_in.get(address(pictured)), 404, "resource.unknown")
    assert_api_error(signed_in.post(address(pictured)), 405, "method.not.allowed")


def test_a_picture_that_one_has_is_not_sent_again(pictured, signed_in):
    token = make_token(make_key(pictured))
    first = signed_in.get(address(pictured))
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert first.headers["Vary"] == "Authorization, Cookie"
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"x", {etag}'):
        again = signed_in.get(address(pictured), headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert get(address(pictured), token).headers["ETag"] == etag
    assert call("HEAD", address(pictured), token).headers["Content-Length"] == str(len(first.content))
    upload(signed_in, picture("JPEG"))
    assert signed_in.get(address(pictured), headers={"If-None-Match": etag}).status_code == 200
