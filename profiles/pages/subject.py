"""The client that a page is about: a personal key or an API Client.

Both have the same section, the same prompts and the same rules for forms: `section` and `prompts`, which know nothing
of the two kinds. What they differ in is a subclass of `Subject`: who may do what, where the pages are, what is told.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.utils.translation import gettext_lazy as _

from .. import policy
from ..clients.changes import ChangeRefused
from ..http.requests import UserRequest, origin_of
from ..models import Company, KeyEvent, OAuthApplication
from ..origin import Origin

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

LOST = _("The secret key can no longer be shown. If you have not stored it, regenerate it.")


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of one kind of client, where it cannot be said of both alike."""

    created: _StrPromise
    use_again: _StrPromise
    how_to_use: _StrPromise
    none_works: _StrPromise
    check: _StrPromise
    is_not_its: _StrPromise
    is_not_whole: _StrPromise
    was_ended: _StrPromise
    delete: _StrPromise
    deleting: _StrPromise
    after_deleting: _StrPromise
    changed: _StrPromise
    """What happened in another window, or was done by somebody else; and in `happened` by what it was."""
    happened: Mapping[KeyEvent.Action, _StrPromise]


class Subject(ABC):
    """A client as its pages see it: there, or not (yet)."""

    words: ClassVar[Words]
    via: ClassVar[KeyEvent.Via]
    verbs: ClassVar[ModuleType]
    """What changes it: `regenerate`, `end_old_secret` and `delete`, each told what `change` gives."""
    section_template: ClassVar[str]
    page_template: ClassVar[str]
    company: Company | None
    """Whose policy it is under."""

    def __init__(self, request: UserRequest, client: OAuthApplication | None) -> None:
        self.request = request
        self.client = client

    @property
    @abstractmethod
    def urls(self) -> Mapping[str, str]:
        """The addresses: of each action by its name, of the page (`show`), and of the section in it (`home`)."""

    @property
    @abstractmethod
    def may(self) -> Mapping[str, bool]:
        """What is offered: each action by its name."""

    @abstractmethod
    def as_now(self) -> Self:
        """The same, read anew: after a change, all that a page tells is of one moment, the one after it."""

    @abstractmethod
    def version(self) -> int:
        """Forms carry it, and changes compare it."""

    @abstractmethod
    def last_events(self, number: int) -> Sequence[KeyEvent]:
        """What happened last, the newest first."""

    @abstractmethod
    def change(self) -> dict[str, Any]:
        """Whose change it is, for the verbs."""

    @abstractmethod
    def record_refused_password(self) -> None: ...

    @abstractmethod
    def why_not(self, refusal: ChangeRefused, changed: KeyEvent | None) -> str:
        """Why nothing was done, where only this kind of client can be refused so; "" otherwise."""

    @property
    def policy(self) -> policy.Policy:
        return policy.read(self.company.policy) if self.company else policy.NONE

    def no_new_secret(self) -> ChangeRefused | None:
        """Why no secret can be made, whoever asks, if that is so."""
        return None

    @property
    def tag(self) -> str:
        """What a message for the section of this client is tagged with, until that is shown."""
        return "key"

    def context(self) -> dict[str, Any]:
        """What the section of this kind tells beside what all tell."""
        return {}

    def context_of_page(self) -> dict[str, Any]:
        """What the page around the section tells."""
        return {}

    def origin(self) -> Origin:
        return origin_of(self.request, via=self.via)
