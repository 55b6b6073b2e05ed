"""One file of tests for each thing that is proven, `test_*.py`. What they share, one module a line:

- `conftest`: the cast, that is users, a key, a token, a signed-in browser; and the running site on each database.
- `routes`: every route of the site by its name, with a sample path, from the URLconf.
- `access`: who gets in by each route, as its view declares.
- `page`: My Profile by Django's client: its addresses, and how to look at an answer.
- `api`: the JSON API: requests, and what every refusal looks like.
- `oauth`: the OAuth endpoints: requests, and what every error looks like.
- `admin_site`: staff with the permissions that a test gives them.
- `passkeys`: a passkey in software.
- `valid_html`: what is wrong with the HTML of a page.
- `settings_values`: what each environment variable takes and refuses.
- `wsgi_request`: any bytes as a request to the application in this process.
- `hostile`: such requests made by Hypothesis, and that they did no harm.
- `server`: the product in processes of its own, on a database of its own.
- `version_folder`: a version as an operator has it: built, and read-only.
- `policies`: companies with a policy for the API, and secrets of any age.
- `api_clients`: API Clients of such a site.
- `between`: what a program asks a running site for, and tokens that end meanwhile.
- `mail_server`: a mail server that keeps what it is sent.
- `visitor`: a person at a browser without JavaScript, at a running site.
- `trouble`: a running site while its database is away, and afterwards.
- `cluster`: a PostgreSQL server that may be stopped.
- `redis_server`: a Redis server that may be stopped.
- `browser`: Chromium, driven as a person would.
- `browser_people`: the people that it signs in.
"""
