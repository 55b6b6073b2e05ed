#!/usr/bin/env python
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "airvantage_keys.settings")
    # The one that script/server made, so that a command works beside it as it is.
    kept = Path(__file__).resolve().parent / "var" / "secret_key"
    if not os.environ.get("SECRET_KEY", "").strip() and kept.exists():
        os.environ["SECRET_KEY"] = kept.read_text().strip()

    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    from airvantage_keys import direct

    try:
        if sys.argv[1:2] in (["migrate"], ["createcachetable"]):
            direct.use()
        execute_from_command_line(sys.argv)
    # One sentence, which a traceback would hide.
    except ImproperlyConfigured as problem:
        sys.exit(f"manage.py: {problem}")
    except OperationalError as problem:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"manage.py: the database named by DATABASE_URL failed: {' '.join(str(problem).split())}")
