# The address that a client was last used from is the first that is known of it. Else the next one, whoever has it, would
# be taken for the first, and nobody would be mailed about it.
#
# What servers have noted since the tables are there stays as it is.

from django.db import migrations

ADDRESSES = """
INSERT INTO profiles_usedfrom (application_id, address, user_agent, last_used)
SELECT id, last_used_address, last_used_agent, last_used FROM profiles_oauthapplication
 WHERE last_used_address IS NOT NULL AND last_used IS NOT NULL
    ON CONFLICT (application_id, address) DO NOTHING
"""


def forwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(ADDRESSES)


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0017_key_health'),
    ]

    operations = [
        migrations.RunPython(forwards, migrations.RunPython.noop),
    ]
