"""A user's own account, all but the key: e-mail, picture, password, profile, second factors, sessions, activity.

Built on django-allauth's flows, in our own pages; one module for each part, with its forms, views and rules.
"""
