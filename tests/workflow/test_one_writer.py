"""One run at a time writes a folder of results, and only the library of this workflow takes part."""

import os

from experiments import ROOT, hold, run_snakemake, tiny

PETS = "results/demo/synthetic_pets"


def test_a_second_run_into_the_same_results_is_refused_until_the_first_has_ended(tmp_path):
    results = tmp_path / "shared/demo"
    overrides = tiny(pathvars={"results": str(results)})
    target = str(results / "synthetic_pets")
    first = hold(results, tmp_path / "first")
    try:
        (tmp_path / "second").mkdir()
        done = run_snakemake(tmp_path / "second", target, overrides=overrides)
        assert done.returncode == 1
        assert f"pathvars.results: {results} is being written by process {first.pid} on " in done.stderr
        assert f", started in {tmp_path / 'first'}; wait for it" in done.stderr
        assert not (results / "synthetic_pets").exists()
    finally:
        first.kill()
        first.communicate(timeout=60)
    done = run_snakemake(tmp_path / "second", target, overrides=overrides)
    assert done.returncode == 0, done.stderr
    assert not list(results.glob(".run*"))


def test_another_library_of_this_name_is_refused(tmp_path):
    foreign = tmp_path / "site/spatial_reduction"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").touch()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = run_snakemake(tmp_path, "--dry-run", PETS, overrides=tiny(), environment=environment)
    assert done.returncode == 1
    assert f"spatial_reduction: {foreign} would replace the library of this workflow" in done.stderr
    (foreign / "__init__.py").unlink()
    foreign.rmdir()
    foreign.symlink_to(ROOT / "scripts/spatial_reduction")  # the same one by another way
    assert run_snakemake(tmp_path, "--dry-run", PETS, overrides=tiny(), environment=environment).returncode == 0
