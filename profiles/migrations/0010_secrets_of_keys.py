# Each key's secret becomes its first row. Nothing ends.
#
# While servers of the version before still run beside those of this one, triggers keep both sides true: what one side
# does to a secret, the other sees at its next statement, and the access tokens of each are good on both. Only a secret
# that stays good for a while after Regenerate does so on the servers of this version alone, and only the first use there
# ends it: the others know one secret.
#
# The next version takes the triggers and the old columns away. A migration that comes before it must not alter one of
# these tables on SQLite in a way that makes the table anew: that is done from the models, so without what is left here.

from django.db import migrations

from ._locks import lock

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

# The secrets that are good at this moment, as `ClientSecret.objects.live()` has them.
LIVE = "NOT ended AND (ends IS NULL OR ends > {now})"

# A server of the version before has made or replaced a secret.
FROM_BEFORE = f"""
    UPDATE profiles_clientsecret SET ended = true, ends = {{now}}, end_reason = 'replaced'
     WHERE application_id = NEW.id AND {LIVE};
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

# A server of the version before has issued a token. The version that it has copied must be that of this moment: if the
# secret was replaced since, the token is dead.
TOKEN_FROM_BEFORE = """
    SELECT s.id FROM profiles_clientsecret s JOIN profiles_user u ON u.id = NEW.user_id
     WHERE s.application_id = NEW.application_id AND s.ends IS NULL AND u.key_version = NEW.key_version
"""

# A server of the version before has deleted a key, or a user, and knows nothing of the links to it that are new. (Those
# of this version come here with nothing left to do.)
KEY_DELETED = f"""
    UPDATE profiles_clientsecret SET ended = true, ends = {{now}}, end_reason = 'deleted'
     WHERE application_id = OLD.id AND {LIVE};
    UPDATE profiles_clientsecret SET application_id = NULL WHERE application_id = OLD.id;
"""
USER_DELETED = """
    UPDATE profiles_clientsecret SET shown_to_id = NULL WHERE shown_to_id = OLD.id;
    UPDATE profiles_oauthapplication SET maker_id = NULL WHERE maker_id = OLD.id;
"""

NOW = {'postgresql': 'now()', 'sqlite': "strftime('%Y-%m-%d %H:%M:%f', 'now')"}
# name: (when, on which table, if, what). That of tokens is apart, because only PostgreSQL can change a row before it is
# there. There is none for tokens of this version: `clients.tokens` itself writes what the others look at.
TRIGGERS = {
    'secret_from_before_made': ('AFTER INSERT', 'profiles_oauthapplication', IS_NEW, FROM_BEFORE),
    'secret_from_before_replaced': ('AFTER UPDATE OF client_secret', 'profiles_oauthapplication', IS_NEW, FROM_BEFORE),
    'secret_to_before': ('AFTER INSERT', 'profiles_clientsecret', 'NEW.ends IS NULL', TO_BEFORE),
    'key_deleted_before': ('AFTER DELETE', 'profiles_oauthapplication', 'true', KEY_DELETED),
    'user_deleted_before': ('AFTER DELETE', 'profiles_user', 'true', USER_DELETED),
}
TOKEN_TRIGGERS = {
    'postgresql': {
        'token_from_before': (
            'BEFORE INSERT', 'profiles_accesstoken', 'NEW.secret_id IS NULL',
            f'NEW.secret_id := ({TOKEN_FROM_BEFORE});',
        ),
    },
    'sqlite': {
        'token_from_before': (
            'AFTER INSERT', 'profiles_accesstoken', 'NEW.secret_id IS NULL',
            f'UPDATE profiles_accesstoken SET secret_id = ({TOKEN_FROM_BEFORE}) WHERE id = NEW.id;',
        ),
    },
}
TABLES = ('profiles_user', 'profiles_oauthapplication', 'profiles_accesstoken', 'profiles_clientsecret')


def triggers(vendor):
    return {**TRIGGERS, **TOKEN_TRIGGERS[vendor]}


def forwards(apps, schema_editor):
    # First the lock and the triggers: what is changed from here on is seen by these, and what was before by COPY.
    connection = schema_editor.connection
    lock(schema_editor, *TABLES)
    for name, (when, table, condition, body) in triggers(connection.vendor).items():
        body = body.format(now=NOW[connection.vendor])
        if connection.vendor == 'postgresql':
            # What needs no look at other rows is asked before the function is called: that costs a token nothing.
            before = '' if 'SELECT' in condition else f'WHEN ({condition})'
            schema_editor.execute(
                f'CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body$ '
                f'BEGIN IF {condition} THEN {body} END IF; RETURN {"NEW" if when == "BEFORE INSERT" else "NULL"}; END $body$',
                params=None,
            )
            schema_editor.execute(
                f'CREATE TRIGGER {name} {when} ON {table} FOR EACH ROW {before} EXECUTE FUNCTION {name}()', params=None
            )
        else:
            schema_editor.execute(f'CREATE TRIGGER {name} {when} ON {table} WHEN {condition} BEGIN {body} END', params=None)
    with connection.cursor() as cursor:
        cursor.execute(COPY, [PREFIX + '%'])


def backwards(apps, schema_editor):
    """What the servers of this version did is in the old columns already."""
    vendor = schema_editor.connection.vendor
    lock(schema_editor, *TABLES)
    for name, (_, table, _, _) in triggers(vendor).items():
        if vendor == 'postgresql':
            schema_editor.execute(f'DROP TRIGGER {name} ON {table}')
            schema_editor.execute(f'DROP FUNCTION {name}()')
        else:
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
