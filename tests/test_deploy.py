"""A site in production: script/build, script/release, script/serve and script/manage, and what is in deploy/."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml

from .server import ROOT, free_port, postgres_url
from .version_folder import NOBODY, PRODUCT, built, contents, copy_product, make_environment, run

WITHIN = 120  # seconds for a start or an answer, on a machine that is busy with other tests
SECRET_KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
PASSWORD = "A long enough password 1"
ALL_THREE = {
    "DATABASE_URL": "postgres://keys@127.0.0.1:1/keys",
    "SECRET_KEY": SECRET_KEY,
    "BASE_URL": "http://x.example",
}


# --- The environment file -----------------------------------------------------------------------------------


def load(file: Path, *, want: str = "WANTED", **environment: str) -> subprocess.CompletedProcess[str]:
    """What script/lib.sh makes of this file: the variable `want`, as a program gets it."""
    code = f'. "{ROOT}/script/lib.sh"; load_environment "$1"; printenv {want}'
    return subprocess.run(
        ["bash", "-c", code, "script/any", file],
        env={"PATH": os.environ["PATH"], **ALL_THREE, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "environment"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "$HOME",
        "$(id)`id`",
        "a b  c",
        "a=b;c#d",
        'it\'s "quoted" inside',
        "&|<>*?~!{}[]",
        "#not a comment",
        "postgres://u:a%40b@h/db?sslmode=require",
        "Schlüssel <keys@bücher.example>",
    ],
)
def test_a_value_is_taken_to_the_letter(value, file):
    file.write_text(f"# a comment\n; another\n\nWANTED={value}\n")
    assert load(file).stdout == f"{value}\n"


def test_the_last_line_needs_no_end_and_the_file_prevails(file):
    file.write_text("WANTED=first\nWANTED=last")
    assert load(file, WANTED="of the shell").stdout == "last\n"


@pytest.mark.parametrize(
    "line",
    [
        "export WANTED=hunter2",
        " WANTED=hunter2",
        "WANTED =hunter2",
        "WANTED= hunter2",
        "WANTED=hunter2 ",
        "WANTED=hunter2\t",
        "WANTED=hunter2\r",
        "WANTED=hunter2\x07x",
        'WANTED="hunter2"',
        "WANTED='hunter2'",
        "WANTED=hunter2\\",
        "WANTED=hunter\\x32",
        "# systemd goes on with the comment in the next line \\",
        "hunter2",
        "1WANTED=hunter2",
        "wanted=hunter2",
        "WANTED[0]=hunter2",
        "=hunter2",
        "   ",
    ],
)
def test_what_systemd_would_read_otherwise_is_refused_without_its_value(line, file):
    file.write_text(f"# a comment\n{line}\n")
    done = load(file)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"script/any: line 2 of {re.escape(str(file))} .*\.\n", done.stderr)
    assert "hunter" not in done.stderr


def test_a_file_that_is_named_must_be_there(file):
    done = load(file)
    assert (done.returncode, done.stderr) == (1, f"script/any: the environment file can't be read: {file}\n")


@pytest.mark.parametrize("name", ALL_THREE)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_one_of_the_three_nothing_runs(name, value, file):
    environment = {each: given for each, given in ALL_THREE.items() if each != name}
    if value is not None:
        environment[name] = value
    file.write_text("")
    code = f'. "{ROOT}/script/lib.sh"; load_environment "$1"; echo ran'
    done = subprocess.run(
        ["bash", "-c", code, "script/any", file],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"script/any: {name} is not set in {file}: docs/deploy.md tells of the environment file.\n"


def test_the_example_is_such_a_file(file):
    shutil.copy(ROOT / "deploy/environment.example", file)
    done = load(file, want="BASE_URL")
    assert (
        done.stderr == f"script/any: SECRET_KEY is not set in {file}: docs/deploy.md tells of the environment file.\n"
    )
    file.write_text(file.read_text().replace("SECRET_KEY=\n", f"SECRET_KEY={SECRET_KEY}\n"))
    assert load(file, want="BASE_URL").stdout == "https://keys.example.com\n"


def test_each_script_says_what_it_is_for():
    for script in ("build", "release", "serve", "manage", "server"):
        done = run(ROOT, script, "--help")
        assert (done.returncode, done.stderr) == (0, ""), script
        assert done.stdout.startswith(f"Usage: script/{script}")
    for script in ("build", "release", "serve"):
        assert run(ROOT, script, "--nonsense").returncode == 2
    assert run(ROOT, "manage").returncode == 2


# --- A version ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def version() -> Iterator[Path]:
    with built() as folder:
        yield folder


@pytest.fixture
def site(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of a site with an empty database, and a folder that nobody may write to."""
    state = Path(tempfile.mkdtemp(prefix="airvantage-keys-state."))
    if NOBODY:
        shutil.chown(state, "nobody", "nogroup")
    port = free_port()
    try:
        with postgres_url() as url:
            yield {
                "PATH": os.environ["PATH"],
                "DATABASE_URL": url,
                "SECRET_KEY": SECRET_KEY,
                "BASE_URL": f"http://127.0.0.1:{port}",
                "PORT": str(port),
                "MEDIA_ROOT": str(state / "media"),
                "WEB_CONCURRENCY": "1",
            }
    finally:
        shutil.rmtree(state)


def as_nobody(version: Path, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NOBODY, version / "script" / script, *arguments],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def serving(version: Path, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*NOBODY, version / "script/serve"], env=environment, cwd="/", stdout=out, stderr=out
        )
    try:
        wait_until_it_answers(environment["BASE_URL"], process, log)
        yield process
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0, log.read_text()


def wait_until_it_answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{address}/readyz", timeout=WITHIN).ok:
                return
        except requests.ConnectionError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)  # until it listens
    raise AssertionError(log.read_text())


@pytest.mark.server
@pytest.mark.postgres
def test_from_build_to_a_page_by_a_user_who_can_only_read(version, site, tmp_path):
    before = contents(version)
    with ThreadPoolExecutor(2) as pool:  # two hosts at once
        for done in pool.map(lambda _: as_nobody(version, "release", **site), range(2)):
            assert done.returncode == 0, done.stderr
            assert "There is no administrator yet: script/manage createsuperuser makes one." in done.stdout
    made = as_nobody(
        version, "manage", "createsuperuser", "--no-input", "--email=root@x.example", "--name=R",
        **site, DJANGO_SUPERUSER_PASSWORD=PASSWORD,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    again = as_nobody(version, "release", **site)
    assert (again.returncode, "administrator" in again.stdout) == (0, False)
    with serving(version, tmp_path / "log", **site):
        page = requests.get(f"{site['BASE_URL']}/accounts/login/", timeout=WITHIN)
        styles = re.findall(r'href="(/static/[^"]+\.css)"', page.text)
        assert styles
        for style in styles:
            answer = requests.get(site["BASE_URL"] + style, timeout=WITHIN)
            assert answer.status_code == 200
            assert answer.headers["Content-Encoding"] in ("br", "gzip")
    assert contents(version) == before


@pytest.mark.server
@pytest.mark.postgres
def test_a_command_works_in_the_folder_where_it_is_called_with_the_file_of_the_site(version, site, tmp_path):
    (tmp_path / "environment").write_text(
        "".join(f"{name}={value}\n" for name, value in site.items() if name != "PATH")
    )
    assert as_nobody(version, "release", **site).returncode == 0
    done = subprocess.run(
        [version / "script/manage", "--environment", "environment", "exportevents", "--output", "events.csv"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": "sqlite:////tmp/another.sqlite3"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "events.csv").exists()


@pytest.mark.server
@pytest.mark.postgres
def test_release_works_at_the_maintenance_address(version, site):
    there = site | {
        "DATABASE_URL": "postgres://keys@127.0.0.1:1/pooler",
        "MAINTENANCE_DATABASE_URL": site["DATABASE_URL"],
    }
    assert as_nobody(version, "release", **there).returncode == 0


@pytest.mark.server
def test_the_server_does_not_start_with_a_wrong_setting_or_without_a_build(version, tmp_path):
    done = as_nobody(version, "serve", PATH=os.environ["PATH"], **ALL_THREE, LOG_LEVEL="nonsense")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"script/serve: LOG_LEVEL must be [^\n]*\n", done.stderr)
    shutil.copytree(ROOT / "script", tmp_path / "script")
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    for script, arguments in (("serve", []), ("release", []), ("manage", ["check"])):
        done = run(tmp_path, script, *arguments, **ALL_THREE)
        assert (done.returncode, done.stderr) == (
            1,
            f"script/{script}: run script/build in this folder first: {tmp_path}\n",
        )


@pytest.mark.server
def test_a_build_takes_over_the_static_files_of_the_version_before(version):
    with built() as after:
        (after / "static/css/site.css").write_text("body { color: red }")
        assert run(after, "build", "--previous", str(version)).returncode == 0
        names = [
            json.loads((folder / "var/static/staticfiles.json").read_text())["paths"]["css/site.css"]
            for folder in (version, after)
        ]
        assert names[0] != names[1]
        for name in (*names, f"{names[0]}.gz"):
            assert (after / "var/static" / name).stat().st_mode & 0o444 == 0o444
        assert run(after, "build", "--previous", str(after / "nowhere")).returncode == 1
        (after / "var/secret_key").touch()
        assert "script/server keeps the data of its demo here" in run(after, "build").stderr


# --- The demo -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    copy_product(folder)
    make_environment(folder)
    return folder


@pytest.mark.server
@pytest.mark.parametrize(
    "where",
    [
        {"BASE_URL": "https://localhost"},
        {"BASE_URL": "http://keys.example"},
        {"HOST": "0.0.0.0"},
        {"TRUSTED_PROXIES": "1"},
    ],
    ids=str,
)
def test_the_demo_is_not_for_others(where, clone):  # security 90
    done = run(clone, "server", PORT=str(free_port()), **where)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"script/server: others can reach [^\n]* script/serve, as docs/deploy\.md tells\.\n", done.stderr
    )
    assert not (clone / "var/db.sqlite3").exists()


# --- A restart --------------------------------------------------------------------------------------------------

# As script/serve ends; the farewell is shorter than the 9 seconds that suit a proxy.
SERVE = """
exec 3<&"$1"
export LISTEN_PID=$$ LISTEN_FDS=1
exec "$0" -c "from airvantage_keys import server; server.FAREWELL = 4; server.main()"
"""


@pytest.mark.server
@pytest.mark.postgres
def test_a_restart_under_load_loses_no_request(version, site, tmp_path):
    """One server, with a socket as airvantage-keys@.socket has it: what is asked is answered, if later."""
    assert as_nobody(version, "release", **site).returncode == 0
    log = tmp_path / "log"
    listener = socket.create_server(("127.0.0.1", int(site["PORT"])), backlog=4096)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 10)
    answered = [0] * 8
    ended = False

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                ["bash", "-c", SERVE, version / ".venv/bin/python", str(listener.fileno())],
                cwd=version, env=site, stdout=out, stderr=out, pass_fds=[listener.fileno()],
            )  # fmt: skip

    def ask(number: int) -> None:
        """Send POST requests, in a connection that is kept or in one for each: none may fail."""
        session = requests.Session()
        while not ended:
            answer = session.post(
                f"{site['BASE_URL']}/api/oauth/token", {"grant_type": "client_credentials"}, timeout=WITHIN
            )
            assert answer.status_code == 401, answer.text
            answered[number] += 1
            if number % 2:
                session.close()

    def wait_for_answers() -> None:
        least = [count + 20 for count in answered]
        deadline = time.monotonic() + WITHIN
        while any(count < enough for count, enough in zip(answered, least, strict=True)):
            assert time.monotonic() < deadline, log.read_text()
            assert not any(client.done() for client in clients), [client.exception() for client in clients]
            time.sleep(0.1)

    process = start()
    with ThreadPoolExecutor(len(answered)) as pool:
        try:
            clients = [pool.submit(ask, number) for number in range(len(answered))]
            wait_for_answers()
            for _ in range(3):
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=60) == 0
                process = start()
                wait_for_answers()
        finally:
            ended = True
            listener.close()
            for client in clients:
                client.result()
            process.terminate()
            process.wait(timeout=60)


@pytest.mark.server
@pytest.mark.parametrize(("family", "count"), [(socket.AF_INET, 2), (socket.AF_UNIX, 1)], ids=["two", "of Unix"])
def test_another_thing_than_one_socket_of_tcp_is_refused(family, count):
    with socket.socket(family) as listener:
        done = subprocess.run(
            [
                "bash",
                "-c",
                SERVE.replace("LISTEN_FDS=1", f"LISTEN_FDS={count}"),
                sys.executable,
                str(listener.fileno()),
            ],
            cwd=ROOT,
            env=os.environ | {"SECRET_KEY": "x"},
            pass_fds=[listener.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert re.search("^airvantage_keys: [^\n]* must be [^\n]*\\.$", done.stderr, re.MULTILINE)


# --- deploy/ ------------------------------------------------------------------------------------------------------


def test_the_units_are_right_and_confined(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    for unit in (ROOT / "deploy/systemd").iterdir():
        text = unit.read_text().replace("/srv/airvantage-keys/current", str(ROOT))
        (tmp_path / unit.name.replace("@", "@8001")).write_text(text)
    units = sorted(tmp_path.iterdir())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for unit in units:
        if unit.suffix == ".service":
            done = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout


def test_the_farewell_is_longer_than_nginx_keeps_a_connection():
    from airvantage_keys.server import DEFAULTS, FAREWELL

    [kept] = re.findall(r"keepalive_timeout (\d+)s;", (ROOT / "deploy/nginx/airvantage-keys.conf").read_text())
    assert int(kept) < FAREWELL
    assert int(kept) * 1000 < float(str(DEFAULTS["HTTP1_HEADER_READ_TIMEOUT"]))
    [stop] = re.findall(r"TimeoutStopSec=(\d+)", (ROOT / "deploy/systemd/airvantage-keys@.service").read_text())
    assert int(stop) > FAREWELL + float(str(DEFAULTS["WORKERS_KILL_TIMEOUT"]))


def test_the_containers_call_the_same_scripts():
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    assert services["release"]["command"] == ["script/release"]
    for name in ("site", "release"):
        assert (services[name]["read_only"], services[name]["cap_drop"]) == (True, ["ALL"])
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "RUN script/build\n" in dockerfile
    assert 'CMD ["script/serve"]\n' in dockerfile
    copied = set(re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert copied == set(PRODUCT)
