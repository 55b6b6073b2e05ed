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
from PIL import Image

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
