# Live tokens of before get the number of their key's secret, so that they go on. Apart from the migration before, which
# lets nobody issue a token: there may be many of them.
#
# One statement sees one moment: if the secret is replaced meanwhile, they get the number of the one that has ended.

from django.db import migrations
from django.utils import timezone

TOKENS = """
UPDATE profiles_accesstoken
   SET secret_id = (SELECT s.id FROM profiles_clientsecret s
                     WHERE s.application_id = profiles_accesstoken.application_id AND s.ends IS NULL)
 WHERE expires > %s AND secret_id IS NULL
   AND key_version = (SELECT u.key_version FROM profiles_user u WHERE u.id = profiles_accesstoken.user_id)
"""


def forwards(apps, schema_editor):
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute(TOKENS, [connection.ops.adapt_datetimefield_value(timezone.now())])


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0010_secrets_of_keys'),
    ]

    operations = [
        migrations.RunPython(forwards, migrations.RunPython.noop),
    ]
