"""Every job computes with as many threads as Snakemake counts for it, or jobs side by side slow each other down."""

import ast
import json
import subprocess
import sys

import pytest

from experiments import ROOT

SNAKEFILE = """
rule all:
    input: "1.json", "2.json"

rule one:
    output: "1.json"
    threads: 1
    script: "look.py"

use rule one as two with:
    output: "2.json"
    threads: 2
"""
LOOK = """
import json, os
json.dump([os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")],
          open(snakemake.output[0], "w"))
"""


def test_snakemake_tells_the_libraries_of_a_script_how_many_threads_it_has(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "look.py").write_text(LOOK)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all", "--directory", str(tmp_path)]
    command += ["--snakefile", str(tmp_path / "Snakefile")]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    for threads in (1, 2):
        assert json.loads((tmp_path / f"{threads}.json").read_text()) == [str(threads)] * 3


@pytest.mark.parametrize(
    "script",
    ["train_model", "compute_saliency", "evaluate_model", "predict_images", "render_examples", "render_sources"],
)
def test_a_script_that_runs_a_network_hands_on_its_threads(script):
    tree = ast.parse((ROOT / f"scripts/{script}.py").read_text())
    machines = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Machine"]
    assert [ast.unparse(machine.args[1]) for machine in machines] == ["snakemake.threads"]
