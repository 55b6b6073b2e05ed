# What a company lays down for the API, "" where it lays down nothing, and of which end of a secret its people were told.
# Servers of the version before neither read nor write these columns.

from django.db import migrations, models

from ._columns import AddColumn
from ._locks import lock


def lock_tables(apps, schema_editor):
    lock(schema_editor, 'profiles_company', 'profiles_clientsecret')


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0015_uses_of_clients'),
    ]

    operations = [
        migrations.RunPython(lock_tables, migrations.RunPython.noop),
        AddColumn(
            model_name='company',
            name='policy',
            field=models.TextField(blank=True, db_default='', default='', editable=False, verbose_name='policy for the API'),
        ),
        AddColumn(
            model_name='clientsecret',
            name='warned',
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name='keyevent',
            name='action',
            field=models.CharField(choices=[('created', 'Key created'), ('regenerated', 'Secret key regenerated'), ('old_secret_ended', 'Old secret key ended'), ('deleted', 'Key deleted'), ('revoked', 'Key revoked by an administrator'), ('password_refused', 'Wrong password for a change of the key'), ('leaked', 'Secret key reported as leaked, and ended'), ('old_secret_leaked', 'Old secret key reported as leaked, and ended'), ('token_leaked', 'Access token reported as leaked, and ended'), ('new_address', 'Used from a new address'), ('edited', 'API Client edited'), ('disabled', 'API Client disabled'), ('enabled', 'API Client enabled'), ('introspection_given', 'May introspect tokens from now on'), ('introspection_taken', 'May no longer introspect tokens'), ('secret_too_old', 'Told that the secret key will be too old')], max_length=20, verbose_name='what'),
        ),
    ]
