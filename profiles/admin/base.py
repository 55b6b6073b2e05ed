"""What the pages of the admin site have in common: lists that are quick at any length, and searches and filters
that reveal no other columns."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import IntegrityError
from django.db.models import IntegerField, Model, Q, QuerySet, Subquery
from django.db.models.deletion import ProtectedError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import credentials, reach
from ..http.access import Access, declares
from ..models import OAuthApplication, User
from ..text import spelling
from ..text.free_text import FreeTextForm

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
    from django.utils.functional import _StrOrPromise
    from django.utils.safestring import SafeString

# How many rows one action may have. Fewer than DATA_UPLOAD_MAX_NUMBER_FIELDS, so that a confirmation can name them.
ACTION_AT_MOST = 500
SEARCH_LENGTH, SEARCH_WORDS = 200, 10
COMPANIES_IN_FILTER = 50
FEW = 500


class CappedPaginator(Paginator):
    """Counts only as many rows as people page through: counting ten million rows takes seconds, each time."""

    at_most = 10_000

    @cached_property
    def _found(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: self.at_most + 1].count())

    @cached_property
    def count(self) -> int:
        return min(self._found, self.at_most)

    @cached_property
    def is_capped(self) -> bool:
        return self._found > self.at_most


class CappedCount(Subquery):
    """The number of rows of a sliced query, as a column: it reads no more rows than the slice has."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) capped)"
    output_field = IntegerField()


def staff_only(view: Callable[..., Any]) -> Callable[..., Any]:
    """A view of our own in the admin site, with the same access check as Django's."""
    return declares(Access.STAFF)(admin.site.admin_view(view))


def actor_of(request: HttpRequest) -> User:
    """The staff user who sends this request: the admin site requires a signed-in user."""
    return cast("User", request.user)


class Autocomplete(AutocompleteJsonView):
    """The suggestions of a form field. Django also accepts the reverse side of a relation, and then fails."""

    def process_request(self, request: HttpRequest) -> Any:
        found = super().process_request(request)
        field = found[2]
        if field.auto_created:
            raise PermissionDenied
        return found


class FreeTextModelForm(FreeTextForm, forms.ModelForm):
    """The form of every model here."""


class ListAdmin(admin.ModelAdmin):
    """A list that is quick with millions of rows, a search by words, and no other look-ups.

    Django lets the query string of a list filter by any column, `?password__startswith=...` too, which would reveal
    a digest character by character. Here only the filters of the list are allowed.
    """

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 100
    # Parameters of the list's query string, besides those of its filters: foreign keys.
    extra_lookups: ClassVar[tuple[str, ...]] = ()
    # Shows the search box; `found_by` does the search.
    search_fields: ClassVar[tuple[str, ...]] = ("pk",)

    form = FreeTextModelForm
    # The look-up path from a row to its company; "" where rows have no company.
    company_path = ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows within reach. Every page and every action takes its rows from here."""
        return self.within_reach(super().get_queryset(request), actor_of(request))

    def within_reach(self, rows: QuerySet[Any], actor: User) -> QuerySet[Any]:
        return rows if reach.is_site_wide(actor) else rows.filter(self.of_company(actor.company_id))

    def of_company(self, company: int | None) -> Q:
        """Those of the rows that belong to this company, by its primary key."""
        return Q(**{self.company_path: company}) if self.company_path else Q()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if credentials.holds_credential(request.GET.get("q", "")):
            text = _(
                "A secret key or an access token finds nothing here, and stays in the browser's history. Take it for "
                "leaked: revoke the key that it belongs to, or have its owner regenerate it."
            )
            self.message_user(request, text, messages.ERROR)
            asked = request.GET.copy()
            asked["q"] = "***"
            request.GET = asked  # type: ignore[assignment]  # which the list, its form and its links read
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        # Django would look for a field with an empty name where `_to_field` is empty.
        return super().get_object(request, object_id, from_field or None)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        if lookup in self.extra_lookups:
            return is_pk(value)
        return any(lookup in getattr(each, "parameter_names", ()) for each in self.list_filter)

    def found_by(self, word: str) -> Q:
        """What one word of a search finds."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.split()
        # A database refuses a statement that is too long; say so before it does.
        if len(search_term) > SEARCH_LENGTH or len(words) > SEARCH_WORDS:
            self.message_user(request, _("Search for fewer or shorter words."), messages.WARNING)
            return queryset.none(), False
        for word in words:
            queryset = queryset.filter(self.found_by(word))
        return queryset, False

    def response_action(  # type: ignore[override]  # the stubs describe a later Django
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        if request.POST.get("select_across", "0") != "0":
            too_many = len(queryset.order_by().values("pk")[: ACTION_AT_MOST + 1]) > ACTION_AT_MOST
        else:
            selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
            too_many = len(selected) > ACTION_AT_MOST
            if not all(map(is_pk, selected)):
                self.message_user(request, _("Choose rows of the list. Nothing was changed."), messages.ERROR)
                return None
        if too_many:
            text = _("Choose at most %(number)d at a time. Nothing was changed.") % {"number": ACTION_AT_MOST}
            self.message_user(request, text, messages.ERROR)
            return None
        return super().response_action(request, queryset)


class RowsField(forms.ModelMultipleChoiceField):
    """A choice of rows. A value that cannot be a primary key is refused before it causes an error of the database."""

    def clean(self, value: Any) -> Any:
        for pk in value if isinstance(value, (list, tuple)) else ():
            if not is_pk(str(pk)):
                raise forms.ValidationError(
                    self.error_messages["invalid_pk_value"], code="invalid_pk_value", params={"pk": "?"}
                )
        return super().clean(value)


class ReadOnly(admin.ModelAdmin):
    """Nobody can add, change or delete these rows by Django's own pages."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[Any, ...]:
        return tuple(self.get_fields(request, obj))


class ClashesAreErrors(admin.ModelAdmin):
    """Two people save the same name, or one uses what another deletes, at the same moment: a message, not a 500."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except IntegrityError:
            # Somebody else's row came between the check and the write. Now the check sees it and says so.
            return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        try:
            return super().delete_view(request, object_id, extra_context)
        except (ProtectedError, IntegrityError):
            return self._in_use(request)

    def response_action(  # type: ignore[override]  # the stubs describe a later Django
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        try:
            return super().response_action(request, queryset)
        except (ProtectedError, IntegrityError):
            return self._in_use(request)

    def _in_use(self, request: HttpRequest) -> HttpResponse:
        text = _("Somebody changed this at the same moment. Nothing was done: look at it and try again.")
        self.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


class InUse(ClashesAreErrors):
    """Companies and access profiles, which can be deleted once no user and no API Client has them."""

    user_field: str  # the field that points here, of users and of API Clients, and the parameter of both lists

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[Any], list[Any]]:
        # Not Django's list of all related rows: it could have a million users.
        these = {f"{self.user_field}__in": [obj.pk for obj in objs]}
        users = User.objects.filter(**these)
        clients = OAuthApplication.objects.filter(**these, company__isnull=False)
        of_users, of_clients = (reach.within(rows, actor_of(request), "company").count() for rows in (users, clients))
        in_the_way = []
        if of_users:
            in_the_way.append(ngettext("%d user", "%d users", of_users) % of_users)
        if of_clients:
            in_the_way.append(ngettext("%d API Client", "%d API Clients", of_clients) % of_clients)
        if not in_the_way and users.exists():
            in_the_way.append(_("users of other companies"))
        if not in_the_way and clients.exists():
            in_the_way.append(_("API Clients of other companies"))
        if in_the_way:
            return [], {}, set(), in_the_way
        return super().get_deleted_objects(objs, request)


# --- Showing ----------------------------------------------------------------------------------------------


def moment(value: datetime | None) -> str:
    """A time in a form that is easy to compare, in UTC like all times here."""
    return date_format(timezone.localtime(value, UTC), "Y-m-d H:i:s") if value else ""


def at_most(number: int, limit: int) -> str:
    """A number that was counted up to a limit."""
    return f"{limit}+" if number >= limit else str(number)


def two_lines(first: object, second: object) -> SafeString:
    """A cell with a second line in small print."""
    return format_html('{}<span class="below">{}</span>', first, second) if second else format_html("{}", first)


# --- Searching --------------------------------------------------------------------------------------------

_looks_like_pk = re.compile(r"[0-9]{1,18}").fullmatch
# The beginning of one needs a digit and a letter: "Decade" and "2026007" are more likely parts of names.
_looks_like_id = re.compile(r"[0-9a-f]{32}|(?=.*[0-9])(?=.*[a-f])[0-9a-f]{6,31}").fullmatch


def is_pk(text: str) -> bool:
    """Whether this can be a primary key: a number within the range of every database."""
    return _looks_like_pk(text) is not None


def as_id(word: str) -> str | None:
    """The Client ID or uid, or its beginning, if this word has that form."""
    lower = word.lower()
    return lower if _looks_like_id(lower) else None


def as_address(word: str) -> str | None:
    """The IP address, in the form in which addresses are stored, if this word is one."""
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return None


def users_found_by(word: str) -> QuerySet[User]:
    """Users by uid, e-mail address (its beginning, or @ and its end), or a part of their or their company's name."""
    address = spelling.address(word)
    if as_id(word):
        return User.objects.filter(uid=word.lower())
    if address.startswith("@"):
        return User.objects.filter(email__endswith=address)
    if "@" in address:
        return User.objects.filter(email__startswith=address)
    folded = spelling.folded(word)
    return User.objects.filter(
        Q(name_folded__contains=folded) | Q(email__startswith=address) | Q(company__name_folded__contains=folded)
    )


def api_clients_found_by(word: str) -> QuerySet[OAuthApplication]:
    """API Clients by a part of their name, or by their company: a part of its name, or its uid."""
    folded = spelling.folded(word)
    return OAuthApplication.objects.filter(
        Q(name_folded__contains=folded) | Q(company__name_folded__contains=folded) | Q(company__uid=word.lower()),
        company__isnull=False,
    )


def pks(rows: QuerySet[Any], field: str = "pk") -> Any:
    """For an `__in`: the primary keys as values if they are few, because then any index can be used."""
    found = rows.order_by().values_list(field, flat=True)
    few = list(found[: FEW + 1])
    return few if len(few) <= FEW else found


# --- Filters ----------------------------------------------------------------------------------------------


class ChoiceFilter(admin.SimpleListFilter):
    """A choice among known values; any other is an error, not the whole list."""

    def __init_subclass__(cls) -> None:
        cls.parameter_names = (str(cls.parameter_name),)

    parameter_names: ClassVar[tuple[str, ...]] = ()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        if value not in {str(choice) for choice, _title in self.lookup_choices}:
            raise IncorrectLookupParameters
        return self.chosen(queryset, value)

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        raise NotImplementedError


class FieldFilter(ChoiceFilter):
    """A choice among the values of a field with few of them."""

    path: str

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(**{self.path: value})


class YesNoFilter(ChoiceFilter):
    """Two answers."""

    yes: _StrOrPromise = gettext_lazy("Yes")
    no: _StrOrPromise = gettext_lazy("No")

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, _StrOrPromise]]:
        return [("yes", self.yes), ("no", self.no)]

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(self.condition()) if value == "yes" else queryset.exclude(self.condition())

    def condition(self) -> Q:
        raise NotImplementedError


class CompanyFilter(ChoiceFilter):
    """By company: the first of them by name, and the one that is chosen already (by a link on its own page)."""

    title = gettext_lazy("company")
    parameter_name = "company"

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: admin.ModelAdmin
    ) -> None:
        self._list = cast("ListAdmin", model_admin)
        super().__init__(request, params, model, model_admin)

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return queryset.filter(self._list.of_company(int(value)))

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        if not request.user.has_perm("profiles.view_company"):
            return []
        in_reach = reach.companies(actor_of(request))
        companies = list(in_reach[:COMPANIES_IN_FILTER])
        value = self.value()
        if value and is_pk(value) and value not in {str(each.pk) for each in companies}:
            companies += in_reach.filter(pk=value)
        return [(str(company.pk), company.name) for company in companies]


class PeriodFilter(admin.ListFilter):
    """From one day to another, both included, in UTC."""

    template = "admin/period_filter.html"
    parameter_names = ("since", "until")
    path: str

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: admin.ModelAdmin
    ) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.parameter_names:
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1].strip()

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.parameter_names)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        try:
            if since := str(self.used_parameters.get("since", "")):
                queryset = queryset.filter(**{f"{self.path}__gte": _midnight(since)})
            if until := str(self.used_parameters.get("until", "")):
                queryset = queryset.filter(**{f"{self.path}__lt": _midnight(until) + timedelta(days=1)})
        except (ValueError, OverflowError) as error:
            raise IncorrectLookupParameters from error
        return queryset

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        today = datetime.now(UTC).date()
        chosen = (self.used_parameters.get("since") or None, self.used_parameters.get("until") or None)
        for display, days in (
            (_("Any time"), None),
            (_("Today"), 0),
            (_("Past 7 days"), 7),
            (_("Past 30 days"), 30),
            (_("Past year"), 365),
        ):
            since = None if days is None else (today - timedelta(days=days)).isoformat()
            yield {
                "selected": chosen == (since, None),
                "query_string": changelist.get_query_string({"since": since, "until": None}),
                "display": display,
            }
        # For the form with the two dates, which has to keep the rest of the address.
        self.since, self.until = chosen
        self.others = _pairs(changelist.filter_params, without=self.parameter_names)


def _midnight(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), time.min, tzinfo=UTC)


def _pairs(parameters: dict[str, Any], *, without: Iterable[str]) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, values in parameters.items()
        if name not in without
        for value in (values if isinstance(values, list) else [values])
    ]
