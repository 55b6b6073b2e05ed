# Shared by the scripts beside it, which source it. Each step can be run again at any time.
# shellcheck shell=bash
set -euo pipefail
unset CDPATH # with it, `cd` may go to another folder
called_in=$PWD
# -P: a server goes on in the folder of its version when the link `current` leads to the next one.
cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "== $*"; }
die() {
  printf '%s\n' "script/$(basename "$0"): $*" >&2
  exit 1
}

# Prints the first Python that is new enough. Only what runs before the virtual environment may use it.
find_python() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "Python 3.11 or newer is needed; python3 is $(python3 --version 2>&1 || true)."
}

# Installs Debian packages where that is allowed (root, or sudo without a password); else fails without a message.
apt_install() {
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  command -v apt-get >/dev/null || return 1
  if [[ $EUID -ne 0 ]]; then
    sudo -n true 2>/dev/null || return 1
    apt=(sudo -n "${apt[@]}")
  fi
  say "Installing Debian packages: $*"
  # A package source that can't be reached (often a third party's) does not matter if the packages are in another one.
  # fd 9, our lock, is closed: a package may start a service, which would hold the lock as long as it runs.
  if ! { "${apt[@]}" update || true; "${apt[@]}" install -y --no-install-recommends "$@"; } \
    </dev/null >var/apt.log 2>&1 9>&-; then
    tail -n 5 var/apt.log >&2
    return 1
  fi
}

# Two set-ups in one clone wait for each other. The lock ends with the process, even if it is killed.
lock_setup() {
  (umask 077 && mkdir -p var)
  exec 9>var/setup.lock
  if command -v flock >/dev/null; then flock 9; fi
}
unlock_setup() { exec 9>&-; }

# install_locked FILE: installs into .venv what FILE lists. A copy of FILE in .venv shows that it is done.
install_locked() {
  local lock=$1 stamp=.venv/installed-$1 python
  if cmp -s "$lock" "$stamp" && .venv/bin/python -c 'import django' 2>/dev/null; then return; fi
  # No pip: there is no .venv yet, or it is incomplete, or its Python was removed.
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    say "Making the virtual environment with $("$python" --version)"
    "$python" -c 'import ensurepip' 2>/dev/null || apt_install python3-venv \
      || die "$python can't make virtual environments: apt-get install python3-venv"
    "$python" -m venv --clear .venv
  fi
  say "Installing $lock (a minute, the first time)"
  # -q hides warnings, -qq also the advice on caches and on running as root; errors are still shown.
  .venv/bin/python -m pip install -qq --no-input --disable-pip-version-check --require-hashes -r "$lock"
  cp "$lock" "$stamp"
}

# The database of the site, past a pooler, for PostgreSQL's own programs: see airvantage_keys/direct.py.
direct() { .venv/bin/python -m airvantage_keys.direct "$@"; }
# from_caller FILE: its whole path; a relative one begins where the script was called.
from_caller() { if [[ $1 == /* ]]; then printf '%s' "$1"; else printf '%s' "$called_in/$1"; fi; }
# address_to_listen_on HOST PORT: prints the address of HOST, since the server takes no name; refuses what is not free.
address_to_listen_on() {
  local python
  python=$(find_python)
  "$python" - "$(basename "$0")" "$1" "$2" <<'PYTHON'
import re
import socket
import sys

script, host, port = sys.argv[1], sys.argv[2].strip().removeprefix("[").removesuffix("]"), sys.argv[3].strip()
if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
    sys.exit(f"script/{script}: PORT must be a whole number from 1 to 65535, not {port!r}.")
try:
    family, kind, protocol, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
except UnicodeError:
    sys.exit(f"script/{script}: HOST must be a host name or an address such as 127.0.0.1, not {host!r}.")
except OSError as error:
    sys.exit(
        f"script/{script}: can't listen on {host} port {port}: {error.strerror}. Choose another with HOST and PORT."
    )
print(address[0])
PYTHON
}

# setting NAME: prints a setting. One that is wrong, whichever it is, ends the script with its sentence.
setting() {
  .venv/bin/python - "$(basename "$0")" "$1" <<'PYTHON'
import sys

sys.path.insert(0, "")
from django.core.exceptions import ImproperlyConfigured

try:
    from airvantage_keys import settings
except ImproperlyConfigured as problem:
    sys.exit(f"script/{sys.argv[1]}: {problem}")
print(getattr(settings, sys.argv[2]))
PYTHON
}

# --- Production -------------------------------------------------------------------------------------------

environment_usage() {
  cat <<'USAGE'

  --environment FILE   the file of the site's environment variables, one NAME=value a line. Without it, the file that
                       AIRVANTAGE_KEYS_ENVIRONMENT names, else /etc/airvantage-keys/environment if there is one. It
                       prevails over variables that are set already.

DATABASE_URL, SECRET_KEY and BASE_URL must be set, in the file or, as in a container, without one.
USAGE
}

# take_environment ARGUMENT...: sets `file` to what --environment says, if it comes first, and `arguments` to the rest.
take_environment() {
  file='' arguments=("$@")
  if [[ ${1-} == --environment ]]; then
    if [[ -z ${2-} ]]; then usage >&2 && exit 2; fi
    # shellcheck disable=SC2034 # the scripts use them
    file=$2 arguments=("${@:3}")
  fi
}

# load_environment FILE: exports what the file sets; FILE is empty where the caller names none. Nothing is evaluated.
# What systemd (EnvironmentFile=) would read otherwise is refused, by its number: the line may hold a secret.
load_environment() {
  local file=${1:-${AIRVANTAGE_KEYS_ENVIRONMENT:-}} line name number=0
  if [[ -z $file && -e /etc/airvantage-keys/environment ]]; then file=/etc/airvantage-keys/environment; fi
  if [[ -n $file ]]; then
    file=$(from_caller "$file")
    if [[ ! -f $file || ! -r $file ]]; then die "the environment file can't be read: $file"; fi
    while IFS= read -r line || [[ -n $line ]]; do
      number=$((number + 1))
      if [[ $line == *\\* ]]; then die "line $number of $file has a backslash, which systemd reads in its own way."; fi
      if [[ -z $line || $line == [\#\;]* ]]; then continue; fi
      if [[ ! $line =~ ^[A-Z][A-Z0-9_]*= ]]; then
        die "line $number of $file is not NAME=value, with capitals in the name and nothing before it."
      fi
      name=${line%%=*} line=${line#*=}
      if [[ $line == [\"\']* ]]; then die "line $number of $file has a quote before its value: write none."; fi
      if [[ $line == [[:space:]]* || $line == *[[:space:]] || $line == *[[:cntrl:]]* ]]; then
        die "line $number of $file has a blank at an end of its value, or what is no text."
      fi
      export "$name=$line"
    done <"$file"
  fi
  for name in DATABASE_URL SECRET_KEY BASE_URL; do
    if [[ ! ${!name:-} =~ [^[:space:]] ]]; then
      die "$name is not set${file:+ in $file}: docs/deploy.md tells of the environment file."
    fi
  done
}

# Whether script/build has run in this folder, for what is in it now.
require_build() {
  if [[ ! -f var/static/staticfiles.json ]] || ! cmp -s requirements.txt .venv/installed-requirements.txt; then
    die "run script/build in this folder first: $PWD"
  fi
}

manage() { .venv/bin/python manage.py "$@"; }
random() { .venv/bin/python -c 'import secrets; print(secrets.token_urlsafe(50))'; }
