# From where clients are used, and how much. Servers of the version before neither write nor need any of it: the tables are
# new, and the columns have defaults.

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from ._columns import AddColumn
from ._locks import lock


def lock_tables(apps, schema_editor):
    lock(schema_editor, 'profiles_user', 'profiles_oauthapplication')


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0014_leaks'),
    ]

    operations = [
        migrations.RunPython(lock_tables, lock_tables),
        AddColumn(
            model_name='user',
            name='mail_new_address',
            field=models.BooleanField(db_default=False, default=False, verbose_name='mail about new addresses'),
        ),
        AddColumn(
            model_name='oauthapplication',
            name='mail_new_address',
            field=models.BooleanField(db_default=False, default=False, editable=False, verbose_name='mail about new addresses'),
        ),
        migrations.AlterField(
            model_name='keyevent',
            name='action',
            field=models.CharField(choices=[('created', 'Key created'), ('regenerated', 'Secret key regenerated'), ('old_secret_ended', 'Old secret key ended'), ('deleted', 'Key deleted'), ('revoked', 'Key revoked by an administrator'), ('password_refused', 'Wrong password for a change of the key'), ('leaked', 'Secret key reported as leaked, and ended'), ('old_secret_leaked', 'Old secret key reported as leaked, and ended'), ('token_leaked', 'Access token reported as leaked, and ended'), ('new_address', 'Used from a new address'), ('edited', 'API Client edited'), ('disabled', 'API Client disabled'), ('enabled', 'API Client enabled'), ('introspection_given', 'May introspect tokens from now on'), ('introspection_taken', 'May no longer introspect tokens')], max_length=20, verbose_name='what'),
        ),
        migrations.CreateModel(
            name='UsedFrom',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('address', models.GenericIPAddressField()),
                ('user_agent', models.CharField(blank=True, max_length=200)),
                ('last_used', models.DateTimeField()),
                ('application', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='used_from', to=settings.OAUTH2_PROVIDER_APPLICATION_MODEL)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('application', 'address'), name='used_from_unique')],
            },
        ),
        migrations.CreateModel(
            name='UsedOn',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('tokens', models.BigIntegerField()),
                ('calls', models.BigIntegerField()),
                ('application', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='used_on', to=settings.OAUTH2_PROVIDER_APPLICATION_MODEL)),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['day'], name='used_on_day')],
                'constraints': [models.UniqueConstraint(fields=('application', 'day'), name='used_on_unique')],
            },
        ),
    ]
