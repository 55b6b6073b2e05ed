"""Edit profile: what users say about themselves, and the language and the time zone of their pages."""

from __future__ import annotations

from datetime import tzinfo
from functools import cache
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..http.requests import UserRequest, origin_of
from ..models import User
from ..pages import reauthentication
from ..pages.base import page
from ..text.free_text import FreeTextForm
from . import changes

# The other names in the database are old names, offsets and similar.
CONTINENTS = {
    "Africa": gettext_lazy("Africa"),
    "America": gettext_lazy("America"),
    "Antarctica": gettext_lazy("Antarctica"),
    "Arctic": gettext_lazy("Arctic Ocean"),
    "Asia": gettext_lazy("Asia"),
    "Atlantic": gettext_lazy("Atlantic Ocean"),
    "Australia": gettext_lazy("Australia"),
    "Europe": gettext_lazy("Europe"),
    "Indian": gettext_lazy("Indian Ocean"),
    "Pacific": gettext_lazy("Pacific Ocean"),
}


def zone_of(user: User) -> tzinfo:
    """The time zone in which this user's pages tell the time: UTC until they choose another."""
    try:
        return ZoneInfo(user.time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a name that is no longer in this machine's database
        return timezone.get_default_timezone()


@cache
def time_zones() -> tuple[Any, ...]:
    """The choices: UTC, then places by continent."""
    names = sorted(name for name in available_timezones() if name.partition("/")[0] in CONTINENTS)
    return (
        ("", "UTC"),
        *(
            (CONTINENTS[continent], [(name, name.partition("/")[2].replace("_", " ")) for name in group])
            for continent, group in groupby(names, lambda name: name.partition("/")[0])
        ),
    )


class DetailsForm(FreeTextForm, forms.ModelForm):
    language = forms.ChoiceField(
        label=gettext_lazy("Language"),
        required=False,
        choices=[("", gettext_lazy("As the browser says")), *settings.LANGUAGES],
    )
    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        required=False,
        choices=time_zones,
        help_text=gettext_lazy("In which dates and times are shown on these pages. The API and mails keep to UTC."),
    )

    class Meta:
        model = User
        fields = (
            "name",
            "job_title",
            "phone_number",
            "country",
            "language",
            "time_zone",
            "mail_new_address",
            "marketing",
        )
        labels = {
            "name": gettext_lazy("Name"),
            "job_title": gettext_lazy("Job title"),
            "phone_number": gettext_lazy("Phone number"),
            "country": gettext_lazy("Country"),
            "mail_new_address": gettext_lazy("Mail me when my API access key is used from a new address"),
            "marketing": gettext_lazy("Send me news and offers by e-mail"),
        }
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "name"}),
            "job_title": forms.TextInput(attrs={"autocomplete": "organization-title"}),
            "phone_number": forms.TextInput(attrs={"type": "tel", "autocomplete": "tel"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].error_messages["required"] = _("Enter your name.")
        self.fields["country"].widget.attrs["autocomplete"] = "country"

    def full_clean(self) -> None:
        super().full_clean()
        for name in list(self.errors)[:1]:
            self.fields[name].widget.attrs["autofocus"] = True


@page("GET", "HEAD", "POST")
@reauthentication.required()
def edit(request: UserRequest) -> HttpResponse:
    # A separate object: the form writes what was typed into its user, valid or not, and the menu shows `request.user`.
    owner = get_object_or_404(User.objects.select_related("company"), pk=request.user.pk)
    form = DetailsForm(request.POST if request.method == "POST" else None, instance=owner)
    if form.is_bound and form.is_valid():
        if form.changed_data:
            with transaction.atomic():
                before = User.objects.select_for_update(of=("self",)).get(pk=owner.pk)
                owner.save(update_fields=form.changed_data)
                origin = origin_of(request)
                changes.record_changes(before=before, owner=owner, fields=form.changed_data, origin=origin)
        # In the language of the next page, which shows the message.
        language = owner.language_read(otherwise=translation.get_language_from_request(request))
        with translation.override(language):
            messages.success(request, _("Your profile was saved."))
        return redirect("profile")
    context = {"form": form, "company": owner.company}
    return render(request, "profiles/edit.html", context, status=422 if form.is_bound else 200)
