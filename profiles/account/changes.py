"""Events about changes of an account, an access profile, a company or a staff group: the old and the new value.

Code that changes one of these calls this module in the same transaction, with the row as it was before. One event
describes one kind of change. The text of an event is not translated: fields have the names that they have in the code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.contrib.auth.models import Group

from .. import rights
from ..models import AccessProfile, AccountEvent, Company, User
from ..origin import Origin
from . import activity

Action = AccountEvent.Action

FLAGS = ("is_staff", "is_superuser")


def record_created(*, owner: User, origin: Origin) -> None:
    flags = [name for name in FLAGS if getattr(owner, name)]
    given = _granted(None, owner.access_profile)
    parts = filter(None, (owner.email, str(owner.company or ""), given, *flags))
    _record(Action.ACCOUNT_CREATED, owner, origin, " · ".join(parts))


def record_deleted(*, owner: User, origin: Origin) -> None:
    """Call this before the deletion: a deleted user cannot be the owner of an event."""
    _record(Action.ACCOUNT_DELETED, owner, origin, owner.email)


def record_changes(*, before: User, owner: User, fields: Collection[str], origin: Origin, is_told: bool = True) -> None:
    """What was changed of these fields. `is_told`: whether a change of the e-mail address is mailed to the old one."""
    changed = [name for name in fields if getattr(before, name) != getattr(owner, name)]
    if "email" in changed:
        email = before.email if is_told else ""
        detail = _arrow(before.email, owner.email)
        activity.record(Action.EMAIL_CHANGED, owner=owner, origin=origin, detail=detail, email=email, mailed=is_told)
    if "name" in changed:
        _record(Action.NAME_CHANGED, owner, origin, _arrow(before.name, owner.name))
    if "company" in changed:
        _record(Action.COMPANY_CHANGED, owner, origin, _arrow(before.company, owner.company))
    if "access_profile" in changed:
        granted = _granted(before.access_profile, owner.access_profile)
        _record(Action.ACCESS_PROFILE_CHANGED, owner, origin, granted)
    if details := [name for name in activity.DETAILS if name in changed]:
        # What users say about themselves is private: the event names the changed fields, not their values.
        is_own = origin.actor == owner
        parts = [name if is_own else _field(name, before, owner) for name in details]
        _record(Action.DETAILS_CHANGED, owner, origin, "; ".join(parts))
    if "is_active" in changed:
        record_active(owner=owner, origin=origin)
    if flags := [_field(name, before, owner) for name in FLAGS if name in changed]:
        _record(Action.STAFF_CHANGED, owner, origin, "; ".join(flags))


def record_active(*, owner: User, origin: Origin) -> None:
    _record(Action.REACTIVATED if owner.is_active else Action.DEACTIVATED, owner, origin)


def staff_powers(user: User) -> set[str]:
    """The groups and permissions of a staff user, by their names."""
    permissions = user.user_permissions.values_list("content_type__app_label", "codename")
    return {*user.groups.values_list("name", flat=True), *map(".".join, permissions)}


def record_staff_powers(*, before: set[str], owner: User, origin: Origin, mailed: bool = True) -> None:
    if difference := _difference(before, staff_powers(owner)):
        activity.record(Action.STAFF_CHANGED, owner=owner, origin=origin, detail=difference, mailed=mailed)


# --- What many accounts share --------------------------------------------------------------------------------


def record_company(*, before: Company | None, after: Company | None, origin: Origin) -> None:
    """A company that was made, changed or, where `after` is None, is about to be deleted."""
    has_policy = any(company and company.policy for company in (before, after))
    fields = ("name", "require_mfa", "is_active", *(["policy"] if has_policy else []))
    actions = (Action.COMPANY_CREATED, Action.COMPANY_EDITED, Action.COMPANY_DELETED)
    _record_row(actions, before, after, fields, origin)


def record_profile(*, before: AccessProfile | None, after: AccessProfile | None, origin: Origin) -> None:
    actions = (Action.PROFILE_CREATED, Action.PROFILE_EDITED, Action.PROFILE_DELETED)
    _record_row(actions, before, after, ("name", "rights"), origin)


def record_group(*, before: tuple[str, set[str]] | None, after: tuple[str, set[str]] | None, origin: Origin) -> None:
    """A group, with its `group_state` before and after."""
    name, powers = before or ("", set())
    new_name, new_powers = after or ("", set())
    action = Action.GROUP_EDITED if before and after else Action.GROUP_DELETED if before else Action.GROUP_CREATED
    renamed = _arrow(name, new_name) if before and after and name != new_name else name or new_name
    difference = _difference(powers, new_powers)
    if before != after:
        detail = f"{renamed}: {difference}" if difference else renamed
        activity.record_about(action, uid="", origin=origin, detail=detail)


def group_state(group: Group) -> tuple[str, set[str]]:
    permissions = group.permissions.values_list("content_type__app_label", "codename")
    return group.name, set(map(".".join, permissions))


def _record_row(
    actions: tuple[AccountEvent.Action, AccountEvent.Action, AccountEvent.Action],
    before: Company | AccessProfile | None,
    after: Company | AccessProfile | None,
    fields: Iterable[str],
    origin: Origin,
) -> None:
    created, edited, deleted = actions
    row = before or after
    assert row is not None  # noqa: S101 - for type checkers: at least one of the two is given
    if before is None or after is None:
        action = created if before is None else deleted
        parts = [f"{name}: {_shown(getattr(row, name))}" for name in fields if name != "name"]
    else:
        action = edited
        parts = [_field(name, before, after) for name in fields if getattr(before, name) != getattr(after, name)]
        if not parts:
            return
    activity.record_about(action, uid=row.uid, origin=origin, detail=f"{row.name}: {'; '.join(parts)}")


# --- Words ---------------------------------------------------------------------------------------------------


def _record(action: AccountEvent.Action, owner: User, origin: Origin, detail: str = "") -> None:
    activity.record(action, owner=owner, origin=origin, detail=detail)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(sorted(value)) or "-"
    return str(value or "") or "-"


def _arrow(before: object, after: object) -> str:
    return f"{_shown(before)} → {_shown(after)}"


def _field(name: str, before: object, after: object) -> str:
    return f"{name}: {_arrow(getattr(before, name), getattr(after, name))}"


def _difference(before: set[str], after: set[str]) -> str:
    return " ".join([f"+{name}" for name in sorted(after - before)] + [f"-{name}" for name in sorted(before - after)])


def _granted(before: AccessProfile | None, after: AccessProfile | None) -> str:
    """Which profile, and which rights it added and removed: the rights of a profile can change later."""
    if before is None and after is None:
        return ""
    held = [rights.ALL_RIGHTS.intersection(profile.rights) if profile else frozenset() for profile in (before, after)]
    difference = _difference(set(held[0]), set(held[1]))
    return f"{_arrow(before, after)}{': ' if difference else ''}{difference}"
