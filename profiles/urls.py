from django.urls import path

from . import views
from .account import details, email, pictures

urlpatterns = [
    path("", views.profile, name="profile"),
    path("edit/", details.edit, name="profile-edit"),
    path("email/", email.change, name="email-change"),
    path("email/cancel/", email.cancel_change, name="email-cancel"),
    path("picture/", pictures.edit, name="picture-edit"),
    path("picture/remove/", pictures.remove, name="picture-remove"),
    path("api-key/create/", views.key_create, name="key-create"),
    path("api-key/regenerate/", views.key_regenerate, name="key-regenerate"),
    path("api-key/delete/", views.key_delete, name="key-delete"),
]
