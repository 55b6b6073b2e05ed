import django.db.models.manager
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0007_failure_count'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='accesstoken',
            options={'base_manager_name': 'of_keys', 'default_manager_name': 'of_keys', 'default_permissions': ('view',), 'verbose_name': 'access token', 'verbose_name_plural': 'access tokens'},
        ),
        migrations.AlterModelManagers(
            name='accesstoken',
            managers=[
                ('of_keys', django.db.models.manager.Manager()),
            ],
        ),
    ]
