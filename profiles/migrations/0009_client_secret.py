# Secrets become rows of their own, and clients may belong to a company.

import django.db.models.deletion
import django.utils.timezone
import profiles.text.fields
from django.conf import settings
from django.db import migrations, models

from ._locks import lock


def lock_tables(apps, schema_editor):
    lock(
        schema_editor,
        'profiles_user',
        'profiles_company',
        'profiles_accessprofile',
        'profiles_oauthapplication',
        'profiles_accesstoken',
        'profiles_keyevent',
    )


def before_going_back(apps, schema_editor):
    """The version before knows keys alone: an API Client of a company ends, with all that was obtained with it."""
    lock_tables(apps, schema_editor)
    if schema_editor.connection.vendor == 'postgresql':
        # Else checks would be waiting for the end of the transaction, and no table could be altered before it.
        schema_editor.execute('SET CONSTRAINTS ALL IMMEDIATE')
    schema_editor.execute(
        'DELETE FROM profiles_accesstoken WHERE application_id IN'
        ' (SELECT id FROM profiles_oauthapplication WHERE company_id IS NOT NULL)'
    )
    schema_editor.execute('DELETE FROM profiles_oauthapplication WHERE company_id IS NOT NULL')


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0008_token_managers'),
    ]

    operations = [
        migrations.RunPython(lock_tables, migrations.RunPython.noop),
        migrations.CreateModel(
            name='ClientSecret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('client_id', models.CharField(max_length=32, verbose_name='Client ID')),
                ('digest', models.CharField(max_length=64)),
                ('hint', models.CharField(max_length=4)),
                ('created', models.DateTimeField(default=django.utils.timezone.now, verbose_name='created')),
                ('ends', models.DateTimeField(null=True, verbose_name='ends')),
                ('ended', models.BooleanField(db_default=False, default=False)),
                ('ends_at_first_use', models.BooleanField(db_default=False, default=False)),
                ('end_reason', models.CharField(blank=True, choices=[('replaced', 'Replaced by a new one'), ('ended', 'Ended by its owner'), ('deleted', 'Key deleted'), ('revoked', 'Key revoked by an administrator'), ('leaked', 'Reported as leaked')], db_default='', max_length=10, verbose_name='why it ends')),
                ('first_used', models.DateTimeField(null=True, verbose_name='first used')),
                ('last_used', models.DateTimeField(null=True, verbose_name='last used')),
                ('last_used_address', models.GenericIPAddressField(null=True, verbose_name='last used from')),
                ('last_used_agent', models.CharField(blank=True, db_default='', max_length=200, verbose_name='last used by')),
                ('last_refused', models.DateTimeField(null=True, verbose_name='last refused')),
                ('last_refused_address', models.GenericIPAddressField(null=True, verbose_name='last refused from')),
                ('last_refused_agent', models.CharField(blank=True, db_default='', max_length=200, verbose_name='last refused to')),
            ],
            options={
                'verbose_name': 'secret key',
                'verbose_name_plural': 'secret keys',
                'ordering': ('-id',),
                'default_permissions': (),
            },
        ),
        migrations.RemoveIndex(
            model_name='accesstoken',
            name='access_token_of_key',
        ),
        migrations.AddField(
            model_name='keyevent',
            name='old_secret',
            field=models.CharField(blank=True, choices=[('now', 'Stops at once'), ('first-use', 'Stops when the new one is first used, in 7 days at the latest'), ('24h', 'Stops in 24 hours')], db_default='', max_length=10, verbose_name='old secret key'),
        ),
        migrations.AddField(
            model_name='oauthapplication',
            name='access_profile',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='profiles.accessprofile', verbose_name='access profile'),
        ),
        migrations.AddField(
            model_name='oauthapplication',
            name='company',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='profiles.company', verbose_name='company'),
        ),
        migrations.AddField(
            model_name='oauthapplication',
            name='disabled',
            field=models.BooleanField(db_default=False, default=False, editable=False, verbose_name='disabled'),
        ),
        migrations.AddField(
            model_name='oauthapplication',
            name='maker',
            field=models.ForeignKey(blank=True, db_constraint=False, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='made by'),
        ),
        migrations.AddField(
            model_name='oauthapplication',
            name='name_folded',
            field=profiles.text.fields.FoldedNameField(db_default='', default='', editable=False, max_length=450),
        ),
        migrations.AddField(
            model_name='oauthapplication',
            name='note',
            field=models.TextField(blank=True, db_default='', default='', max_length=1000, verbose_name='note'),
        ),
        migrations.AlterField(
            model_name='accesstoken',
            name='application',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.OAUTH2_PROVIDER_APPLICATION_MODEL),
        ),
        migrations.AlterField(
            model_name='accesstoken',
            name='user',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='accountevent',
            name='via',
            field=models.CharField(choices=[('page', 'My Profile'), ('admin', 'Admin site'), ('command', 'Command line'), ('oauth', 'Token endpoint')], max_length=10, verbose_name='via'),
        ),
        migrations.AlterField(
            model_name='keyevent',
            name='action',
            field=models.CharField(choices=[('created', 'Key created'), ('regenerated', 'Secret key regenerated'), ('old_secret_ended', 'Old secret key ended'), ('deleted', 'Key deleted'), ('revoked', 'Key revoked by an administrator'), ('password_refused', 'Wrong password for a change of the key')], max_length=20, verbose_name='what'),
        ),
        migrations.AlterField(
            model_name='keyevent',
            name='owner',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='key_events', to=settings.AUTH_USER_MODEL, verbose_name='owner'),
        ),
        migrations.AlterField(
            model_name='keyevent',
            name='via',
            field=models.CharField(choices=[('page', 'My Profile'), ('admin', 'Admin site'), ('command', 'Command line'), ('oauth', 'Token endpoint')], max_length=10, verbose_name='via'),
        ),
        # The column keeps its length of 255. PostgreSQL refuses a prepared statement whose columns have another type than
        # when it was prepared ("cached plan must not change result type"): all pages of a server of the version before.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.AlterField(
                    model_name='oauthapplication',
                    name='name',
                    field=models.CharField(blank=True, db_default='', default='', max_length=255, verbose_name='name'),
                ),
            ],
            state_operations=[
                migrations.AlterField(
                    model_name='oauthapplication',
                    name='name',
                    field=profiles.text.fields.NameField(blank=True, db_default='', default='', max_length=150, verbose_name='name'),
                ),
            ],
        ),
        migrations.AlterField(
            model_name='oauthapplication',
            name='user',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='key', to=settings.AUTH_USER_MODEL, verbose_name='owner'),
        ),
        migrations.AddIndex(
            model_name='keyevent',
            index=models.Index(fields=['owner', 'id'], name='key_event_of_owner'),
        ),
        migrations.AddConstraint(
            model_name='oauthapplication',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('access_profile__isnull', True), ('company__isnull', True), ('user__isnull', False)), models.Q(('access_profile__isnull', False), ('company__isnull', False), ('user__isnull', True), models.Q(('name', ''), _negated=True)), _connector='OR'), name='client_of_a_user_or_a_company'),
        ),
        migrations.AddConstraint(
            model_name='oauthapplication',
            constraint=models.UniqueConstraint(condition=models.Q(('company__isnull', False)), fields=('company', 'name_folded'), name='client_name_unique_in_company'),
        ),
        migrations.AddField(
            model_name='clientsecret',
            name='application',
            field=models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='secrets', to=settings.OAUTH2_PROVIDER_APPLICATION_MODEL),
        ),
        migrations.AddField(
            model_name='clientsecret',
            name='shown_to',
            field=models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='shown to'),
        ),
        migrations.AddField(
            model_name='accesstoken',
            name='secret',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='profiles.clientsecret'),
        ),
        migrations.AddIndex(
            model_name='accesstoken',
            index=models.Index(fields=['application', 'expires'], name='access_token_of_client'),
        ),
        migrations.AddConstraint(
            model_name='clientsecret',
            constraint=models.UniqueConstraint(fields=('digest',), name='client_secret_unique_digest'),
        ),
        migrations.AddConstraint(
            model_name='clientsecret',
            constraint=models.UniqueConstraint(condition=models.Q(('ends__isnull', True)), fields=('application',), name='one_secret_without_end'),
        ),
        migrations.AddConstraint(
            model_name='clientsecret',
            constraint=models.CheckConstraint(condition=models.Q(('ended', False), ('ends__isnull', False), _connector='OR'), name='ended_secret_has_its_end'),
        ),
        # Servers of the version before go on writing these until they are stopped; those of this one know nothing of them.
        migrations.AlterField(
            model_name='accesstoken',
            name='key_version',
            field=models.PositiveBigIntegerField(db_default=0, editable=False),
        ),
        migrations.AlterField(
            model_name='oauthapplication',
            name='client_secret',
            field=models.CharField(db_default='', editable=False, max_length=128),
        ),
        migrations.AlterField(
            model_name='oauthapplication',
            name='secret_hint',
            field=models.CharField(db_default='', editable=False, max_length=4),
        ),
        migrations.AlterField(
            model_name='oauthapplication',
            name='secret_created',
            field=models.DateTimeField(editable=False, null=True, verbose_name='secret created'),
        ),
        migrations.AlterField(
            model_name='user',
            name='key_version',
            field=models.PositiveBigIntegerField(db_default=0, default=0, editable=False, verbose_name='key version'),
        ),
        # On the way back this comes first.
        migrations.RunPython(migrations.RunPython.noop, before_going_back),
    ]
