"""Moments as people read them. Always in UTC, and always said so: key and log of a client lie in two time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

register = template.Library()


@register.filter
def iso(moment: datetime) -> str:
    """For `<time datetime>`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@register.filter
def absolute(moment: datetime) -> str:
    # Translators: a date with its time of day, in Django's date format letters.
    return _("%(moment)s UTC") % {"moment": date_format(moment.astimezone(UTC), _("j F Y, H:i"))}


@register.filter
def clock(moment: datetime) -> str:
    """The time of day; with the day, unless it is today."""
    moment = moment.astimezone(UTC)
    if moment.date() != timezone.now().astimezone(UTC).date():
        return _("%(time)s UTC on %(day)s") % {
            "time": date_format(moment, _("H:i")),
            "day": date_format(moment, _("j F Y")),
        }
    return _("%(time)s UTC") % {"time": date_format(moment, _("H:i"))}


@register.filter
def ago(moment: datetime) -> str:
    if timezone.now() - moment < timedelta(minutes=1):
        return _("less than a minute ago")
    return _("%(time)s ago") % {"time": timesince(moment, depth=1)}
