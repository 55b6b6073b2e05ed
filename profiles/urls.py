from django.urls import path

from .account import details, email, pictures
from .pages import key

urlpatterns = [
    path("", key.profile, name="profile"),
    path("edit/", details.edit, name="profile-edit"),
    path("email/", email.change, name="email-change"),
    path("email/cancel/", email.cancel_change, name="email-cancel"),
    path("picture/", pictures.edit, name="picture-edit"),
    path("picture/remove/", pictures.remove, name="picture-remove"),
    path("api-key/create/", key.key_create, name="key-create"),
    path("api-key/regenerate/", key.key_regenerate, name="key-regenerate"),
    path("api-key/end-old/", key.key_end_old, name="key-end-old"),
    path("api-key/delete/", key.key_delete, name="key-delete"),
    path("api-key/check/", key.key_check, name="key-check"),
]
