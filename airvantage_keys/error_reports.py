"""What a report of an error may show: Django's page with DEBUG on, and all other error reports (ASVS 16.5.1).

A variable of any frame can hold a secret or a password: in a form, a header, the environment of a request. So reports
show which code failed, and no values. Django's own filter hides what is marked as sensitive, but not with DEBUG on.
"""

from __future__ import annotations

from types import FrameType
from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from . import logs


class Filter(SafeExceptionReporterFilter):
    def get_traceback_frame_variables(self, request: HttpRequest, tb_frame: FrameType) -> Any:
        return {}.items()

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return self._hidden(request.POST if request else QueryDict())

    def get_safe_cookies(self, request: HttpRequest) -> dict[str, Any]:
        return self._hidden(request.COOKIES)

    def _hidden(self, values: Any) -> dict[str, Any]:
        return dict.fromkeys(values, self.cleansed_substitute)


class Reporter(ExceptionReporter):
    """Credentials can also be in URLs and in the message of an exception: they are removed from the whole report."""

    def get_traceback_html(self) -> SafeString:
        return SafeString(logs.without_credentials(super().get_traceback_html()))

    def get_traceback_text(self) -> SafeString:
        return SafeString(logs.without_credentials(super().get_traceback_text()))
