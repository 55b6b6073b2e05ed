"""Lists that can be taken as a CSV file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from .base import ListAdmin, staff_only


class Exported(ListAdmin):
    """The rows that the list shows for the same search and filters, all of them, newest first."""

    change_list_template = "admin/profiles/exported.html"
    file_name: str  # without the day, and without its ending

    def as_csv(self, rows: QuerySet[Any]) -> Iterator[str]:
        """These rows as `events.export` writes them; read in parts, because there may be a million."""
        raise NotImplementedError

    @property
    def _view(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"

    def get_urls(self) -> list[URLPattern]:
        export = path("export/", staff_only(self.export_view), name=f"{self._view}_export")
        return [export, *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse(f"admin:{self._view}_changelist") + "?e=1")
        today = timezone.now().date().isoformat()
        return StreamingHttpResponse(
            self.as_csv(rows),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{self.file_name}-{today}.csv"'},
        )
