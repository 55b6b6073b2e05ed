from django.urls import path

from . import views

urlpatterns = [
    path("", views.profile, name="profile"),
    path("api-key/create/", views.key_create, name="key-create"),
    path("api-key/regenerate/", views.key_regenerate, name="key-regenerate"),
    path("api-key/delete/", views.key_delete, name="key-delete"),
]
