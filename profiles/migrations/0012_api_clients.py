# API Clients of companies come to life: what happens to them is recorded, and a company can be switched off.

from django.db import migrations, models

from ..events import append_only
from ._columns import AddColumn
from ._locks import lock


def lock_tables(apps, schema_editor):
    lock(schema_editor, 'profiles_company', 'profiles_oauthapplication', 'profiles_keyevent')


def rename_permissions(apps, schema_editor):
    """Django makes the permissions that are missing, and leaves the words of those that are there."""
    permissions = apps.get_model('auth', 'Permission').objects.filter(content_type__app_label='profiles')
    for codename, name in (
        ('view_oauthapplication', 'Can view client'),
        ('revoke_oauthapplication', 'Can revoke keys and API Clients, and disable these'),
    ):
        permissions.filter(codename=codename).update(name=name)


def before_going_back(apps, schema_editor):
    """The triggers name the columns that go."""
    lock_tables(apps, schema_editor)
    append_only.lift(schema_editor.connection)


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0011_secrets_of_tokens'),
    ]

    operations = [
        migrations.RunPython(lock_tables, migrations.RunPython.noop),
        AddColumn(
            model_name='company',
            name='is_active',
            field=models.BooleanField(db_default=True, default=True, help_text='Without it, neither its users nor their keys nor its API Clients get in.', verbose_name='active'),
        ),
        AddColumn(
            model_name='oauthapplication',
            name='may_introspect',
            field=models.BooleanField(db_default=False, default=False, help_text='For a resource server: it may ask about every access token of this site (RFC 7662).', verbose_name='may introspect tokens'),
        ),
        AddColumn(
            model_name='keyevent',
            name='client_name',
            field=models.CharField(blank=True, db_default='', max_length=150, verbose_name='name'),
        ),
        AddColumn(
            model_name='keyevent',
            name='detail',
            field=models.TextField(blank=True, db_default='', verbose_name='detail'),
        ),
        migrations.AlterField(
            model_name='accountevent',
            name='via',
            field=models.CharField(choices=[('page', 'My Profile'), ('clients', 'API Clients'), ('admin', 'Admin site'), ('command', 'Command line'), ('oauth', 'Token endpoint')], max_length=10, verbose_name='via'),
        ),
        migrations.AlterField(
            model_name='keyevent',
            name='via',
            field=models.CharField(choices=[('page', 'My Profile'), ('clients', 'API Clients'), ('admin', 'Admin site'), ('command', 'Command line'), ('oauth', 'Token endpoint')], max_length=10, verbose_name='via'),
        ),
        migrations.AlterField(
            model_name='keyevent',
            name='action',
            field=models.CharField(choices=[('created', 'Key created'), ('regenerated', 'Secret key regenerated'), ('old_secret_ended', 'Old secret key ended'), ('deleted', 'Key deleted'), ('revoked', 'Key revoked by an administrator'), ('password_refused', 'Wrong password for a change of the key'), ('edited', 'API Client edited'), ('disabled', 'API Client disabled'), ('enabled', 'API Client enabled'), ('introspection_given', 'May introspect tokens from now on'), ('introspection_taken', 'May no longer introspect tokens')], max_length=20, verbose_name='what'),
        ),
        migrations.AlterModelOptions(
            name='oauthapplication',
            options={'default_permissions': ('view',), 'ordering': ('-created',), 'permissions': (('revoke_oauthapplication', 'Can revoke keys and API Clients, and disable these'),), 'verbose_name': 'client', 'verbose_name_plural': 'keys and API Clients'},
        ),
        migrations.RunPython(rename_permissions, migrations.RunPython.noop),
        # On the way back this comes first.
        migrations.RunPython(migrations.RunPython.noop, before_going_back),
    ]
