from django.db import migrations, models


def without_a_log(apps, schema_editor):
    """What a crash of PostgreSQL may lose needs no write-ahead log: a wrong secret then makes no disk wait."""
    if schema_editor.connection.vendor == 'postgresql':
        schema_editor.execute('ALTER TABLE profiles_failurecount SET UNLOGGED')


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0006_one_form_of_text'),
    ]

    operations = [
        migrations.CreateModel(
            name='FailureCount',
            fields=[
                ('name', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('minute', models.BigIntegerField()),
                ('number', models.IntegerField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.RunPython(without_a_log, migrations.RunPython.noop),
    ]
