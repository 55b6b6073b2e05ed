# Texts that can be written in several forms are stored in one: see profiles/spelling.py.

import sys
from collections import defaultdict

from django.db import migrations

import profiles.text.fields
from profiles.text import spelling

ROWS_AT_A_TIME = 1000


def in_parts(model, *fields):
    """All rows, read a part at a time: they are written meanwhile."""
    rows = model.objects.only("pk", *fields).order_by("pk")
    part = list(rows[:ROWS_AT_A_TIME])
    while part:
        yield part
        part = list(rows.filter(pk__gt=part[-1].pk)[:ROWS_AT_A_TIME])


def tell(text):
    sys.stderr.write(f"\n  {text}")


def bring_to_one_form(model, field, spell):
    """Give the rows the one form of a unique field. The rows that changed, as they were.

    Where two rows are one then, nobody but an administrator knows which is the right one: both are left as they are.
    """
    changing = defaultdict(list)
    for part in in_parts(model, field):
        for row in part:
            value = getattr(row, field)
            if spell(value) != value:
                changing[spell(value)].append(row)
    changed = []
    for value, rows in changing.items():
        others = model.objects.filter(**{field: value}).exclude(pk__in=[row.pk for row in rows])
        alike = [*rows, *others.only("pk", field)]
        if len(alike) > 1:
            listed = " and ".join(f"{getattr(row, field)!r} (number {row.pk})" for row in alike)
            tell(f"Left as they are, because both are written {value!r} now: {model._meta.verbose_name} {listed}.")
        elif len(value) > model._meta.get_field(field).max_length:
            tell(f"Left as it is, because {value!r} is too long: {model._meta.verbose_name} number {rows[0].pk}.")
        else:
            model.objects.filter(pk=rows[0].pk).update(**{field: value})
            changed += rows
    return changed


def forwards(apps, schema_editor):
    User = apps.get_model("profiles", "User")
    for model in (apps.get_model("profiles", "Company"), apps.get_model("profiles", "AccessProfile")):
        for row in bring_to_one_form(model, "name", spelling.name):
            tell(f"{model._meta.verbose_name} {row.name!r} is written {spelling.name(row.name)!r} now.")
        for part in in_parts(model, "name"):
            for row in part:
                row.name_folded = spelling.folded(row.name)
            model.objects.bulk_update(part, ["name_folded"])
    addresses = apps.get_model("account", "EmailAddress").objects
    for user in bring_to_one_form(User, "email", spelling.address):
        tell(f"The e-mail address {user.email!r} is written {spelling.address(user.email)!r} now.")
        # allauth's copy; it makes a new one when it needs it.
        addresses.filter(user_id=user.pk, email=user.email).delete()
    for part in in_parts(User, "name", "job_title"):
        for user in part:
            user.name, user.job_title = spelling.name(user.name)[:150], spelling.name(user.job_title)[:150]
            user.name_folded = spelling.folded(user.name)
        User.objects.bulk_update(part, ["name", "job_title", "name_folded"])
    EmailChange = apps.get_model("profiles", "EmailChange")
    for part in in_parts(EmailChange, "email"):
        for change in part:
            EmailChange.objects.filter(pk=change.pk).update(email=change.email)


class Migration(migrations.Migration):

    dependencies = [
        ('account', '0009_emailaddress_unique_primary_email'),
        ('profiles', '0005_attempts_and_session_salt'),
    ]

    operations = [
        migrations.AddField(
            model_name='accessprofile',
            name='name_folded',
            field=profiles.text.fields.FoldedNameField(db_default='', default='', editable=False, max_length=450),
        ),
        migrations.AddField(
            model_name='company',
            name='name_folded',
            field=profiles.text.fields.FoldedNameField(db_default='', default='', editable=False, max_length=450),
        ),
        migrations.AddField(
            model_name='user',
            name='name_folded',
            field=profiles.text.fields.FoldedNameField(db_default='', default='', editable=False, max_length=450),
        ),
        migrations.AlterField(
            model_name='accessprofile',
            name='name',
            field=profiles.text.fields.NameField(max_length=150, unique=True, verbose_name='name'),
        ),
        migrations.AlterField(
            model_name='company',
            name='name',
            field=profiles.text.fields.NameField(max_length=150, unique=True, verbose_name='name'),
        ),
        migrations.AlterField(
            model_name='emailchange',
            name='email',
            field=profiles.text.fields.AddressField(max_length=254, verbose_name='new e-mail address'),
        ),
        migrations.AlterField(
            model_name='user',
            name='email',
            field=profiles.text.fields.AddressField(max_length=254, unique=True, verbose_name='e-mail address'),
        ),
        migrations.AlterField(
            model_name='user',
            name='job_title',
            field=profiles.text.fields.NameField(blank=True, max_length=150, verbose_name='job title'),
        ),
        migrations.AlterField(
            model_name='user',
            name='name',
            field=profiles.text.fields.NameField(max_length=150, verbose_name='name'),
        ),
        migrations.AlterField(
            model_name='user',
            name='phone_number',
            field=profiles.text.fields.PhoneNumberField(blank=True, help_text='International form, such as +33 1 23 45 67 89.', max_length=20, verbose_name='phone number'),
        ),
        migrations.RunPython(forwards, migrations.RunPython.noop, elidable=True),
    ]
