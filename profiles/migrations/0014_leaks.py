# Words for what happens when a credential is reported as leaked. The tables stay as they are.

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0013_upkeep'),
    ]

    operations = [
        migrations.AlterField(
            model_name='accountevent',
            name='via',
            field=models.CharField(choices=[('page', 'My Profile'), ('clients', 'API Clients'), ('admin', 'Admin site'), ('command', 'Command line'), ('oauth', 'Token endpoint'), ('report', 'Leak report')], max_length=10, verbose_name='via'),
        ),
        migrations.AlterField(
            model_name='keyevent',
            name='action',
            field=models.CharField(choices=[('created', 'Key created'), ('regenerated', 'Secret key regenerated'), ('old_secret_ended', 'Old secret key ended'), ('deleted', 'Key deleted'), ('revoked', 'Key revoked by an administrator'), ('password_refused', 'Wrong password for a change of the key'), ('leaked', 'Secret key reported as leaked, and ended'), ('old_secret_leaked', 'Old secret key reported as leaked, and ended'), ('token_leaked', 'Access token reported as leaked, and ended'), ('edited', 'API Client edited'), ('disabled', 'API Client disabled'), ('enabled', 'API Client enabled'), ('introspection_given', 'May introspect tokens from now on'), ('introspection_taken', 'May no longer introspect tokens')], max_length=20, verbose_name='what'),
        ),
        migrations.AlterField(
            model_name='keyevent',
            name='via',
            field=models.CharField(choices=[('page', 'My Profile'), ('clients', 'API Clients'), ('admin', 'Admin site'), ('command', 'Command line'), ('oauth', 'Token endpoint'), ('report', 'Leak report')], max_length=10, verbose_name='via'),
        ),
    ]
