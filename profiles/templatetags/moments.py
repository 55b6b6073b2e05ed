"""Moments as people read them: in the time zone that they chose, UTC if none, and always said which.

The key and the log of a client may lie in two of them.
"""

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
    """For `<time datetime>`: always in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@register.filter
def absolute(moment: datetime) -> str:
    moment = timezone.localtime(moment)
    # Translators: a date with its time of day, in Django's date format letters.
    shown = date_format(moment, _("j F Y, H:i"))
    return _("%(moment)s %(zone)s") % {"moment": shown, "zone": zone(moment)}


@register.filter
def clock(moment: datetime) -> str:
    """The time of day; with the day, unless it is today."""
    moment = timezone.localtime(moment)
    shown = {"time": date_format(moment, _("H:i")), "zone": zone(moment)}
    if moment.date() != timezone.localdate():
        return _("%(time)s %(zone)s on %(day)s") % {**shown, "day": date_format(moment, _("j F Y"))}
    return _("%(time)s %(zone)s") % shown


@register.filter
def ago(moment: datetime) -> str:
    if timezone.now() - moment < timedelta(minutes=1):
        return _("less than a minute ago")
    return _("%(time)s ago") % {"time": timesince(moment, depth=1)}


def zone(moment: datetime) -> str:
    """The zone of a moment by its letters, such as CET, or, where people have none, by its distance from UTC."""
    name = moment.tzname() or ""
    if name.isalpha():
        return name
    minutes = int((moment.utcoffset() or timedelta()).total_seconds()) // 60
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")
