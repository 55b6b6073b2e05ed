# What the commands have in common: sourced by them with the name of the module that does the work.
# shellcheck shell=bash
module=$1
shift
# shellcheck source=script/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../script/lib.sh"

python=${BENCHMARK_PYTHON:-}
if [[ -z $python ]]; then
  lock_setup
  install_locked requirements.txt
  unlock_setup
  python=.venv/bin/python
fi
exec "$python" -m "benchmarks.$module" "$@"
