"""{% about event viewer %}: by whom and from where, in the list of what happened to a client."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext as _

from ..models import BY_TIME, Event, KeyEvent, User

register = template.Library()

Action, Via = KeyEvent.Action, Event.Via


@register.simple_tag
def about(event: KeyEvent, viewer: User) -> str:
    """One line of text; "" of what came with time alone."""
    said = [", ".join(_by_whom(event, viewer)), event.difference if event.detail else ""]
    if event.reason:
        said.append(_("Reason: %(reason)s") % {"reason": event.reason})
    return ". ".join(filter(None, said))


def _by_whom(event: KeyEvent, viewer: User) -> list[str]:
    """The address and the client program are told of what the viewer did, and of what no user of the site did."""
    where = [_("from %(address)s") % {"address": event.address}] if event.address else []
    agent = [event.user_agent] if event.user_agent else []
    if event.action in BY_TIME:
        return []
    if event.action == Action.NEW_ADDRESS:
        return [_("From %(address)s") % {"address": event.address}, *agent]
    if event.actor_id == viewer.pk:
        return [_("By you"), *where, *agent]
    if event.via == Via.OAUTH:
        return [_("By the first use of the new secret key"), *where]
    if event.via == Via.REPORT:
        return [_("By a report of whoever found it"), *where]
    return [_by_another(event)]


def _by_another(event: KeyEvent) -> str:
    if event.via == Via.COMMAND:
        return _("By the command line")
    if event.via != Via.CLIENTS:
        return _("By an administrator")
    if event.actor is None:
        return _("By somebody whose account was deleted")
    return _("By %(name)s") % {"name": event.actor.name}
