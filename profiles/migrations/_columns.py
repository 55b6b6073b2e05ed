"""How a migration adds a column to a table that has more on it than the models know."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


class AddColumn(migrations.AddField):
    """AddField by ALTER TABLE on every database.

    On SQLite Django would make the table anew from the models: without the triggers on it, and without the columns that
    only servers of another version know. The field must have a `db_default`, or be nullable.
    """

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            BaseDatabaseSchemaEditor.add_field(schema_editor, model, model._meta.get_field(self.name))
