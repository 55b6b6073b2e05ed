# What `manage maintain` keeps: notices that have not left, and when each of its jobs last succeeded. Only new tables, which
# servers of the version before neither write nor need.

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0012_api_clients'),
    ]

    operations = [
        migrations.CreateModel(
            name='UnsentNotice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=10)),
                ('number', models.BigIntegerField()),
                ('email', models.CharField(max_length=254)),
                ('language', models.CharField(max_length=10)),
                ('is_actor', models.BooleanField()),
                ('uid', models.CharField(blank=True, max_length=32)),
                ('again', models.DateTimeField(db_index=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Upkeep',
            fields=[
                ('name', models.CharField(max_length=20, primary_key=True, serialize=False)),
                ('succeeded', models.DateTimeField(null=True)),
                ('seconds', models.FloatField(default=0)),
                ('done', models.BigIntegerField(default=0)),
            ],
            options={
                'default_permissions': (),
            },
        ),
    ]
