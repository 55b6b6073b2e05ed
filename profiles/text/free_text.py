"""Free text that is kept: reasons, names, titles, addresses. No credential gets into it by mistake.

Whoever pastes a secret key into the wrong field has shown it to more people than its owner. So it is refused, the
message says what to do, and the form is not filled with it again: the page would be one more place to read it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from .. import credentials

REFUSAL = _(
    "This holds a secret key or an access token, so nothing was saved. Write it without. Take the secret key for "
    "leaked: regenerate the key that it belongs to."
)


def validate_no_credential(value: str) -> None:
    if credentials.holds_credential(value):
        raise ValidationError(REFUSAL, code="credential")


class FreeTextForm(forms.BaseForm):
    """The form of a page that keeps what is typed: a mixin, in front of Form or ModelForm.

    A credential is taken out of the data before anything looks at it, so that no field and no error message (of an
    invalid choice, say) repeats it.
    """

    machine_made: ClassVar[tuple[str, ...]] = ()
    """Fields that nobody types into: random characters, which can contain any sequence by chance."""

    def full_clean(self) -> None:
        held = self._take_out() if self.is_bound else set()
        super().full_clean()
        for name in held:
            self.errors.pop(name, None)  # the errors of the field that is empty now
            self.add_error(name, ValidationError(REFUSAL, code="credential"))

    def _take_out(self) -> set[str]:
        """Empty the fields that hold a credential; their names."""
        names = {self.add_prefix(name): name for name in self.fields if name not in self.machine_made}
        held = {key for key in names if any(map(credentials.holds_credential, _values(self.data, key)))}
        if held:
            data: Any = self.data.copy()  # type: ignore[attr-defined]  # it is a dictionary of some kind
            for key in held:
                data[key] = ""
            self.data = data
        return {names[key] for key in held}


def _values(data: Any, key: str) -> list[str]:
    values = data.getlist(key) if isinstance(data, QueryDict) else [data.get(key)]
    return [value for value in values if isinstance(value, str)]
