# What administrators are told about the health of keys: a table of findings, and indexes for what is counted at once. Who
# writes a secret waits for the indexes: a second and a half for a million secrets.

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0016_company_policy'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='clientsecret',
            index=models.Index(condition=models.Q(('ends', None), ('first_used', None)), fields=['application'], name='secret_never_used'),
        ),
        migrations.AddIndex(
            model_name='clientsecret',
            index=models.Index(condition=models.Q(('ends', None)), fields=['created'], name='secret_by_age'),
        ),
        migrations.AddIndex(
            model_name='clientsecret',
            index=models.Index(condition=models.Q(('end_reason', 'leaked')), fields=['application'], name='secret_leaked'),
        ),
        migrations.AlterField(
            model_name='keyevent',
            name='action',
            field=models.CharField(choices=[('created', 'Key created'), ('regenerated', 'Secret key regenerated'), ('old_secret_ended', 'Old secret key ended'), ('deleted', 'Key deleted'), ('revoked', 'Key revoked by an administrator'), ('password_refused', 'Wrong password for a change of the key'), ('leaked', 'Secret key reported as leaked, and ended'), ('old_secret_leaked', 'Old secret key reported as leaked, and ended'), ('token_leaked', 'Access token reported as leaked, and ended'), ('new_address', 'Used from a new address'), ('unused', 'Not used for 90 days'), ('edited', 'API Client edited'), ('disabled', 'API Client disabled'), ('enabled', 'API Client enabled'), ('introspection_given', 'May introspect tokens from now on'), ('introspection_taken', 'May no longer introspect tokens'), ('secret_too_old', 'Told that the secret key will be too old')], max_length=20, verbose_name='what'),
        ),
        migrations.CreateModel(
            name='Finding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=20)),
                ('found', models.DateTimeField(default=django.utils.timezone.now)),
                ('told', models.BooleanField(default=False)),
                ('client', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.OAUTH2_PROVIDER_APPLICATION_MODEL)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('kind', 'client'), name='one_finding_of_a_kind')],
            },
        ),
    ]
