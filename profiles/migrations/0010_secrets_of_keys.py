# Each key's secret becomes its first row, and live tokens get its number. Nothing ends.
#
# While servers of the version before still run beside those of this one, triggers keep both sides true: what one side
# does to a secret, the other sees at its next statement. Access tokens are good on the side that issued them, and those
# of before this migration on both. The next version takes the triggers and the old columns away.

from django.db import migrations
from django.utils import timezone

# What stands before the digest in the old column.
PREFIX = 'sha256_client_secret$$'
DIGEST = f"substr({{row}}.client_secret, {len(PREFIX) + 1})"

COPY = f"""
INSERT INTO profiles_clientsecret
       (application_id, client_id, digest, hint, created, shown_to_id, last_used, last_used_address, last_used_agent)
SELECT k.id, k.client_id, {DIGEST.format(row='k')}, k.secret_hint, k.secret_created, k.user_id,
       CASE WHEN k.last_used >= k.secret_created THEN k.last_used END,
       CASE WHEN k.last_used >= k.secret_created THEN k.last_used_address END,
       CASE WHEN k.last_used >= k.secret_created THEN k.last_used_agent ELSE '' END
  FROM profiles_oauthapplication k
 WHERE k.client_secret LIKE %s
"""
TOKENS = """
UPDATE profiles_accesstoken
   SET secret_id = (SELECT s.id FROM profiles_clientsecret s
                     WHERE s.application_id = profiles_accesstoken.application_id)
 WHERE expires > %s
   AND key_version = (SELECT u.key_version FROM profiles_user u WHERE u.id = profiles_accesstoken.user_id)
"""

# A server of the version before has made or replaced a secret.
FROM_BEFORE = f"""
    UPDATE profiles_clientsecret SET ended = true, ends = {{now}}, end_reason = 'replaced'
     WHERE application_id = NEW.id AND NOT ended;
    INSERT INTO profiles_clientsecret (application_id, client_id, digest, hint, created, shown_to_id)
    VALUES (NEW.id, NEW.client_id, {DIGEST.format(row='NEW')}, NEW.secret_hint, NEW.secret_created, NEW.user_id);
"""
IS_NEW = f"""
    NEW.client_secret <> ''
    AND NOT EXISTS (SELECT 1 FROM profiles_clientsecret WHERE digest = {DIGEST.format(row='NEW')})
"""
# A server of this version has. The number ends the tokens that the others know.
TO_BEFORE = f"""
    UPDATE profiles_user SET key_version = key_version + 1
     WHERE id = (SELECT user_id FROM profiles_oauthapplication
                  WHERE id = NEW.application_id AND client_secret <> '{PREFIX}' || NEW.digest);
    UPDATE profiles_oauthapplication
       SET client_secret = '{PREFIX}' || NEW.digest, secret_hint = NEW.hint, secret_created = NEW.created
     WHERE id = NEW.application_id AND client_secret <> '{PREFIX}' || NEW.digest;
"""

POSTGRESQL = f"""
CREATE FUNCTION secret_from_before() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF {IS_NEW} THEN {FROM_BEFORE.format(now='now()')} END IF;
    RETURN NULL;
END;
$body$;
CREATE FUNCTION secret_to_before() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    {TO_BEFORE}
    RETURN NULL;
END;
$body$;
CREATE TRIGGER secret_from_before AFTER INSERT OR UPDATE OF client_secret ON profiles_oauthapplication
    FOR EACH ROW EXECUTE FUNCTION secret_from_before();
CREATE TRIGGER secret_to_before AFTER INSERT ON profiles_clientsecret
    FOR EACH ROW EXECUTE FUNCTION secret_to_before();
"""
_NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
SQLITE = (
    f"CREATE TRIGGER secret_from_before_made AFTER INSERT ON profiles_oauthapplication "
    f"WHEN {IS_NEW} BEGIN {FROM_BEFORE.format(now=_NOW)} END",
    f"CREATE TRIGGER secret_from_before_replaced AFTER UPDATE OF client_secret ON profiles_oauthapplication "
    f"WHEN {IS_NEW} BEGIN {FROM_BEFORE.format(now=_NOW)} END",
    f"CREATE TRIGGER secret_to_before AFTER INSERT ON profiles_clientsecret BEGIN {TO_BEFORE} END",
)


def forwards(apps, schema_editor):
    connection = schema_editor.connection
    # First: what is changed from here on is seen by the triggers, and what was before by the statements below.
    for statement in [POSTGRESQL] if connection.vendor == 'postgresql' else SQLITE:
        schema_editor.execute(statement, params=None)
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(COPY, [PREFIX + '%'])
        cursor.execute(TOKENS, [now])


def backwards(apps, schema_editor):
    """What the servers of this version did is in the old columns already."""
    if schema_editor.connection.vendor == 'postgresql':
        schema_editor.execute('DROP TRIGGER secret_from_before ON profiles_oauthapplication')
        schema_editor.execute('DROP TRIGGER secret_to_before ON profiles_clientsecret')
        schema_editor.execute('DROP FUNCTION secret_from_before()')
        schema_editor.execute('DROP FUNCTION secret_to_before()')
    else:
        for name in ('secret_from_before_made', 'secret_from_before_replaced', 'secret_to_before'):
            schema_editor.execute(f'DROP TRIGGER IF EXISTS {name}')
    schema_editor.execute('DELETE FROM profiles_clientsecret')


class Migration(migrations.Migration):

    dependencies = [
        ('profiles', '0009_client_secret'),
    ]

    operations = [
        migrations.RunPython(forwards, backwards),
        # The columns stay for the servers of the version before; the models know them no more.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField(
                    model_name='accesstoken',
                    name='key_version',
                ),
                migrations.RemoveField(
                    model_name='oauthapplication',
                    name='client_secret',
                ),
                migrations.RemoveField(
                    model_name='oauthapplication',
                    name='secret_created',
                ),
                migrations.RemoveField(
                    model_name='oauthapplication',
                    name='secret_hint',
                ),
                migrations.RemoveField(
                    model_name='user',
                    name='key_version',
                ),
            ],
        ),
    ]
