import sys

from spatial_reduction.cluster.inner_snakemake import run_snakemake

SPEAKS = "import os, sys; print('plan'); print(*[k for k in os.environ if 'SNAKE' in k], file=sys.stderr); "
SPEAKS += "print('error: no', file=sys.stderr); sys.exit(3)"


def test_each_line_is_told_and_what_the_outer_run_has_in_the_environment_is_not_handed_on(monkeypatch):
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "slurm")
    monkeypatch.setenv("OWN_SNAKE", "kept")
    lines = []
    status, told = run_snakemake([sys.executable, "-c", SPEAKS], lines.append)
    assert (status, lines, told) == (3, ["OWN_SNAKE", "error: no"], "OWN_SNAKE\nerror: no\n")
