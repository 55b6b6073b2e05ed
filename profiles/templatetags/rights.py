"""What a template asks about rights. The rules are those of `reach`."""

from __future__ import annotations

from django import template

from .. import reach

register = template.Library()
register.filter("views_clients", reach.may_view_clients)
