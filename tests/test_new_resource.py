"""A resource that is added to the API as `docs/architecture.md` shows: nothing else has to be told of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from django.urls import include, path, reverse
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from airvantage_keys import api_way
from profiles.api import openapi, schemas, views
from profiles.http.access import Access
from profiles.http.operations import declared_in
from profiles.models import AccessProfile, User

from .access import access_of, undeclared
from .api import assert_api_error, challenge, get
from .routes import named

pytestmark = pytest.mark.django_db

ADDRESS = "/api/v1/administrators"
RIGHT = "accountNetwork.users.view"


def as_documented() -> ModuleType:
    """The code of the section, in a module that has what `views.py` and `schemas.py` have."""
    text = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text()
    [section] = re.findall(r"^## A new resource of the API\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    [code] = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    module = ModuleType("profiles.api.administrators")
    own = {"__name__": module.__name__}
    vars(module).update(vars(schemas) | vars(views) | own)
    sys.modules[module.__name__] = module  # where annotations are looked up
    exec(compile(code, "docs/architecture.md", "exec"), vars(module))
    return module


# A URLconf of the site with the resource in it.
urlpatterns = [
    path("", include("airvantage_keys.urls")),
    *(operation.route for operation in declared_in(as_documented())),
]


@pytest.fixture(autouse=True)
def _added(settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    yield
    api_way._kept.cache_clear()


@pytest.fixture
def administrator(user: User) -> User:
    """Of the company of the token's owner, who is none."""
    return User.objects.create(email="a@example.com", name="Ada", company=user.company, is_staff=True)


def test_it_has_a_route_of_its_own():
    assert reverse("api-administrators") == ADDRESS
    assert access_of(named("api-administrators")) is Access.BEARER
    assert undeclared() == []


def test_it_is_in_the_document():
    document = openapi.document()
    validate(document)
    described = document["paths"][ADDRESS]["get"]
    assert (described["operationId"], described["description"]) == ("listAdministrators", "The staff of your company.")
    assert described["security"] == [{"oauth2": [RIGHT]}]
    assert set(described["responses"]) == {"200", "400", "401", "403", "405", "500", "503"}
    assert [it["name"] for it in described["parameters"]] == ["size", "offset", "uid", "name", "fields", "orderBy"]
    assert {"name": "Administrators", "description": "Whom to ask for a right."} in document["tags"]
    item = document["components"]["schemas"]["AdministratorItem"]
    assert (list(item["properties"]), item["required"]) == (["uid", "name", "phoneNumber"], ["uid"])
    assert document["components"]["schemas"]["AdministratorList"]["properties"]["items"]["items"] == {
        "$ref": "#/components/schemas/AdministratorItem"
    }
    assert item["properties"]["phoneNumber"] == {"type": "string", "description": "In international form, or empty."}


def test_it_is_on_the_page(client):
    page = client.get("/api/docs").content.decode()
    assert '<li><a href="#listAdministrators">List the administrators of my company</a></li>' in page
    assert f"<code>{ADDRESS}</code>" in page


def test_it_is_answered_to_whom_it_may_be(token, administrator):
    response = get(ADDRESS, token)
    item = {"uid": administrator.uid, "name": "Ada"}
    assert response.json() == {"items": [item], "count": 1, "size": 1, "offset": 0}
    schema = openapi.document()["components"]["schemas"]
    OAS31Validator({"$ref": "#/components/schemas/AdministratorList", "components": {"schemas": schema}}).validate(
        response.json()
    )
    assert get(ADDRESS, token, "fields=phoneNumber").json()["items"] == [{"uid": administrator.uid, "phoneNumber": ""}]


def test_it_refuses_as_all_do(token, access_profile: AccessProfile):
    assert_api_error(get(ADDRESS), 401, "token.missing")
    assert_api_error(get(ADDRESS, token, "size=0"), 400, "size.invalid")
    assert_api_error(get(ADDRESS, token, "a=1&a=1"), 400, "parameter.repeated")
    access_profile.rights = []
    access_profile.save()
    refused = get(ADDRESS, token)
    assert_api_error(refused, 403, "right.missing")
    assert challenge(refused)["scope"] == RIGHT


def test_the_site_itself_has_it_not(settings, token):
    settings.ROOT_URLCONF = "airvantage_keys.urls"
    assert ADDRESS not in openapi.document()["paths"]
    assert_api_error(get(ADDRESS, token), 404, "resource.unknown")
