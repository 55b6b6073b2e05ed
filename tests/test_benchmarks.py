"""The benchmarks are not run here; that they still work is tried for a moment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .server import ROOT


@pytest.mark.server
def test_the_benchmarks_still_work():
    done = subprocess.run(
        [ROOT / "benchmarks" / "run", "--smoke"],
        env={**os.environ, "BENCHMARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for request in ("token", "bearer", "wrong secret"):
        assert f"### {request}" in done.stdout
    # It runs the product's own statements, so it must follow when they change.
    assert done.stdout.count("| floor-wsgi |") == 2
