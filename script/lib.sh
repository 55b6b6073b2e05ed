# Shared by script/server and script/test, which source it. Each step can be run again at any time.
# shellcheck shell=bash
set -euo pipefail
called_from=$PWD
unset CDPATH # with it, `cd` may go to another folder
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

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
from_caller() { if [[ $1 == /* ]]; then printf '%s' "$1"; else printf '%s' "$called_from/$1"; fi; }
manage() { .venv/bin/python manage.py "$@"; }
random() { .venv/bin/python -c 'import secrets; print(secrets.token_urlsafe(50))'; }
