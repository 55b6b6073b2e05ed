"""The policy of a company in its form: what it says, who may widen it, and whom it refuses before it is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import policy, reach
from ..clients import ages
from ..policy import Policy
from .base import FreeTextModelForm

if TYPE_CHECKING:
    from ..models import User


class PolicyForm(FreeTextModelForm):
    """A policy that refuses clients which are accepted now is saved when its number of them has been seen.

    So the first Save of such a policy saves nothing and tells the number, and the second one saves it. The same for
    each policy of who could not take it back, and for one that would undo what somebody else has laid down meanwhile.
    """

    FIELDS: ClassVar = ("no_keys", "days", "networks", "before", "seen")

    actor: User  # who fills it in

    no_keys = forms.BooleanField(
        label=gettext_lazy("No personal API access keys"),
        required=False,
        help_text=gettext_lazy(
            "None are made, and those that there are, with their access tokens, are refused from the next request on. "
            "They are kept, and accepted again without this. API Clients are not affected."
        ),
    )
    days = forms.IntegerField(
        label=gettext_lazy("Maximum age of a secret key, in days"),
        required=False,
        min_value=1,
        max_value=policy.DAYS_AT_MOST,
        help_text=gettext_lazy(
            "Of personal keys and API Clients. Their people are mailed 30, 7 and 1 days before; then the secret key "
            "and its access tokens are refused until it is regenerated. Empty: no limit."
        ),
    )
    networks = forms.CharField(
        label=gettext_lazy("Networks"),
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text=gettext_lazy(
            "From which access tokens may be asked for and used, one a line, such as 203.0.113.0/24 or 2001:db8::/32. "
            "IPv4 and IPv6 each need their own lines. A resource server that introspects a token does not know from "
            "where it was used. It counts for the API alone: nobody is shut out of these pages. Empty: all."
        ),
    )
    # The policy that the form began with, as it was stored then: what differs from it was changed by this form.
    before = forms.CharField(required=False, max_length=10_000, widget=forms.HiddenInput)
    # What was told of the policy that is in the form: the numbers, and the policy.
    seen = forms.CharField(required=False, max_length=10_000, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.policy_before = self.instance.policy
        before = policy.read(self.policy_before)
        self.initial = {
            **self.initial,
            "no_keys": before.no_keys,
            "days": before.days,
            "networks": "\n".join(before.networks),
            "before": self.policy_before,
        }

    def clean_networks(self) -> tuple[str, ...]:
        typed = self.cleaned_data["networks"].replace(",", " ").split()
        try:
            found = policy.networks(typed)
        except ValueError as error:
            raise ValidationError(_("This is no network: %(text)s."), params={"text": str(error)[:50]}) from None
        if len(found) > policy.NETWORKS_AT_MOST:
            raise ValidationError(_("At most %(number)d networks."), params={"number": policy.NETWORKS_AT_MOST})
        return found

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors or "no_keys" not in self.fields:
            return cleaned
        after, before = (
            Policy(cleaned["no_keys"], cleaned["days"], cleaned["networks"]),
            policy.read(self.policy_before),
        )
        if after == before or str(after) == cleaned["before"]:
            return cleaned  # It is left as it is, also where somebody else has changed it since this form was opened.
        if self.instance.pk:
            self._check_clash(before)
            may_widen = reach.may_widen(self.actor, self.instance)
            if after.widens(before) and not may_widen:
                raise ValidationError(
                    _("This lets in keys or API Clients with rights that you lack. You may only narrow the policy.")
                )
            self._check_seen(after, before, may_widen=may_widen)
        self.instance.policy = str(after)
        return cleaned

    def _check_clash(self, before: Policy) -> None:
        if self.cleaned_data["before"] == self.policy_before:
            return
        self._send_next("before", self.policy_before)
        raise ValidationError(
            _(
                "Somebody else has changed the policy meanwhile. It is now: %(policy)s. Nothing was saved yet. Save "
                "again if it shall be as it is below instead."
            ),
            params={"policy": policy.in_words(before)},
        )

    def _check_seen(self, after: Policy, before: Policy, *, may_widen: bool) -> None:
        refused = ages.refused_by(after, before, self.instance)
        told = f"{' '.join(map(str, refused))} {may_widen} {after}"
        if (may_widen and not any(refused)) or self.cleaned_data["seen"] == told:
            return
        self._send_next("seen", told)
        warnings = [] if may_widen else [_("You cannot take this back: for that you lack rights.")]
        if any(refused):
            warnings.insert(0, _("This policy refuses at once: %(said)s.") % {"said": _in_words(refused)})
        raise ValidationError([*warnings, _("Nothing was saved yet. Save again if that is meant.")])

    def _send_next(self, name: str, value: str) -> None:
        """With the next Save, by a field that nobody sees."""
        data: Any = self.data.copy()  # type: ignore[attr-defined]  # it is a dictionary of some kind
        data[self.add_prefix(name)] = value
        self.data = data


def _in_words(refused: ages.Refused) -> str:
    counted = (
        ngettext("%d personal key", "%d personal keys", refused.keys) % refused.keys,
        ngettext("%d client whose secret key is too old", "%d clients whose secret key is too old", refused.too_old)
        % refused.too_old,
        ngettext(
            "%d client that was last used from elsewhere",
            "%d clients that were last used from elsewhere",
            refused.elsewhere,
        )
        % refused.elsewhere,
    )
    return "; ".join(text for number, text in zip(refused, counted, strict=True) if number)
