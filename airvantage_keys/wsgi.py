"""What the server runs: Django's WSGI application, with one guard of ours."""

import multiprocessing
import os
import signal
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "airvantage_keys.settings")

# Ctrl-C reaches the server's worker processes too, and right after it the SIGTERM with which their parent
# stops them. A Granian worker that gets both may hang until it is killed, so it listens to SIGTERM only.
if multiprocessing.parent_process() is not None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


class Request(WSGIRequest):
    """Django's request, but whatever Content-Type says, there is a request that can be answered.

    Django lets an error in that header pass before any middleware can catch it (`charset*=x''y`), and decodes the
    address by the codec it names, be it `base64`. Here all is UTF-8, and a header that cannot be read is none.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:
            self.content_type, self.content_params = "", {}


class Application(WSGIHandler):
    request_class = Request


django.setup(set_prefix=False)
application = Application()
