"""API Clients of the company: the list, and the pages of each."""

from django.urls import path

from . import client_list, clients

urlpatterns = [
    path("", client_list.client_list, name="clients"),
    path("create/", clients.client_create, name="client-create"),
    path("<str:client_id>/", clients.client, name="client"),
    path("<str:client_id>/edit/", clients.client_edit, name="client-edit"),
    path("<str:client_id>/regenerate/", clients.client_regenerate, name="client-regenerate"),
    path("<str:client_id>/end-old/", clients.client_end_old, name="client-end-old"),
    path("<str:client_id>/disable/", clients.client_disable, name="client-disable"),
    path("<str:client_id>/enable/", clients.client_enable, name="client-enable"),
    path("<str:client_id>/delete/", clients.client_delete, name="client-delete"),
    path("<str:client_id>/check/", clients.client_check, name="client-check"),
]
