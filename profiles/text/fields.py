"""Model and form fields for what `spelling` normalises: when it is typed, stored and looked up.

An exact look-up takes any spelling, because Django prepares the value of a look-up as it prepares a stored one. The
value of a partial look-up has to be normalised first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.db import models
from django.db.models import Func

from . import spelling
from .free_text import validate_no_credential

Validators = list[Callable[[Any], None]]

# --- Of forms ---------------------------------------------------------------------------------------------


class NameFormField(forms.CharField):
    default_validators = [spelling.validate_name]

    def to_python(self, value: Any) -> Any:
        return spelling.name(super().to_python(value) or "")


class NoteFormField(forms.CharField):
    """A text of several lines."""

    widget = forms.Textarea
    default_validators = [spelling.validate_note]

    def to_python(self, value: Any) -> Any:
        return spelling.note(super().to_python(value) or "")


class AddressFormField(forms.EmailField):
    default_validators = [spelling.validate_address]

    def to_python(self, value: Any) -> Any:
        return spelling.address(super().to_python(value) or "")


class PhoneNumberFormField(forms.CharField):
    TYPED_AT_MOST = 50  # with everything between the digits
    default_validators = [spelling.validate_phone_number]

    def to_python(self, value: Any) -> Any:
        return spelling.phone_number(super().to_python(value) or "")


# --- Of models --------------------------------------------------------------------------------------------


class _InOneForm(models.CharField):
    """A text that `spell` normalises. Only the validators refuse a text."""

    spell: Callable[[str], str]
    form_field: type[forms.CharField]

    def to_python(self, value: Any) -> Any:
        plain = super().to_python(value)
        return plain if plain is None else type(self).spell(plain)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:  # noqa: FBT001 - Django's signature
        """Normalise the attribute too, so that the object has what the database has."""
        value = super().pre_save(model_instance, add)
        if isinstance(value, str):
            value = type(self).spell(value)
            setattr(model_instance, self.attname, value)
        return value

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": self.form_field, **kwargs})


class NameField(_InOneForm):
    """A name of somebody or something, in one line."""

    default_validators = [spelling.validate_name, validate_no_credential]
    spell = staticmethod(spelling.name)
    form_field = NameFormField


class AddressField(_InOneForm, models.EmailField):
    """An e-mail address."""

    default_validators = [spelling.validate_address, validate_no_credential]
    spell = staticmethod(spelling.address)
    form_field = AddressFormField


class PhoneNumberField(_InOneForm):
    """A phone number in its international form."""

    default_validators = [spelling.validate_phone_number]
    spell = staticmethod(spelling.phone_number)
    form_field = PhoneNumberFormField

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"max_length": PhoneNumberFormField.TYPED_AT_MOST, **kwargs})


class FoldedNameField(models.CharField):
    """`name` without regard to case, for searching and ordering; written whenever `name` is."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:  # noqa: FBT001 - Django's signature
        folded = spelling.folded(spelling.name(model_instance.name))
        setattr(model_instance, self.attname, folded)
        return folded


class ByCodePoint(Func):
    """To order by: the same order on every database, whatever its locale."""

    template = "%(expressions)s"
    arity = 1

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template='%(expressions)s COLLATE "C"', **context)
