"""Train, keep the most salient pixels, train again; compare with the U-Net trained in a single pass."""

from snakemake.utils import min_version

min_version("9.14")

# Not `workflow.basedir`: that is the caller's, where this workflow is a module of another.
CHECKOUT = workflow.current_basedir.get_path_or_uri(secret_free=True)
IS_MODULE = workflow.modifier.skip_configfile


include: "workflow/rules/checks.smk"
include: "workflow/rules/files.smk"


configfile: f"{CHECKOUT}/config/config.yaml"


if OWN:

    configfile: OWN


include: "workflow/rules/terminal.smk"
include: "workflow/rules/configuration.smk"
include: "workflow/rules/design.smk"
include: "workflow/rules/code.smk"
include: "workflow/rules/paths.smk"
include: "workflow/rules/origins.smk"
include: "workflow/rules/records.smk"
include: "workflow/rules/gpu.smk"
include: "workflow/rules/slurm.smk"
include: "workflow/rules/minutes.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/encoder.smk"
include: "workflow/rules/reduction.smk"
include: "workflow/rules/looks.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/prediction.smk"
include: "workflow/rules/comparison.smk"
include: "workflow/rules/preflight.smk"
include: "workflow/rules/data_check.smk"


rule all:
    default_target: True
    input:
        "<results>/report.html",
        "<results>/verdict.md",
        "<results>/sheet.md",
        "<results>/metrics.csv",
        "<results>/contrasts.csv",
        "<results>/interactions.csv",
        "<results>/references.csv",
        "<results>/convergence.csv",
        "<results>/history.csv",
        "<results>/kept_pixels.csv",
        "<results>/racu.csv",
        "<results>/costs.csv",
        expand("<results>/figures/{figure}.{suffix}", figure=figures(), suffix=["png", *config["report"]["formats"]]),


rule predict:
    input:
        new_predictions,


rule compare:
    input:
        "<results>/comparison/comparison.csv",


rule export:
    input:
        exported_model,


refuse_closed_folders()


onstart:
    begin_run()


onsuccess:
    RECORDS.keep()


onerror:
    RECORDS.keep()
