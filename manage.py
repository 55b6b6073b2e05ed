#!/usr/bin/env python
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "airvantage_keys.settings")
    # The one that script/server made, so that a command works beside it as it is.
    kept = Path(__file__).resolve().parent / "var" / "secret_key"
    if not os.environ.get("SECRET_KEY") and kept.exists():
        os.environ["SECRET_KEY"] = kept.read_text().strip()

    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:
        # One sentence, which a traceback would hide.
        sys.exit(f"manage.py: {problem}")
