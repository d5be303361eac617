"""
Before a thousand jobs are queued: is what they ask for accepted, and does a node offer what was promised? While they run: how
far are they?

    snakemake preflight --workflow-profile profiles/slurm --configfile config/oxford_pet.yaml
    snakemake status --nolock --configfile config/oxford_pet.yaml
    snakemake preview --nolock --configfile config/oxford_pet.yaml

    inputs:  none
    outputs: none that stay; the findings are printed
"""


rule check_requests:
    """Ask Slurm, without queueing anything, whether it would accept the request of every rule and of the longest chain."""
    output:
        temp("<results>/preflight/requests.json"),
    log:
        "<logs>/check_requests.log",
    benchmark:
        "<benchmarks>/check_requests.tsv"
    retries: 0
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("check_requests"),
        requests=slurm_requests,
        jobs=jobs_at_a_time,
    script:
        "../../scripts/check_requests.py"


rule check_node:
    """Look, as a training would, at a node: its software, its GPU, its view of the data."""
    input:
        requests="<results>/preflight/requests.json",
    output:
        temp("<results>/preflight/node.json"),
    log:
        "<logs>/check_node.log",
    benchmark:
        "<benchmarks>/check_node.tsv"
    retries: 0
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=10,
    params:
        code=code("check_node"),
        dataset=DATASET,
        device=config["training"]["device"],
    script:
        "../../scripts/check_node.py"


# A rule without output runs whenever it is asked for; a benchmark would count as output, and the second preflight do nothing.
rule preflight:
    """Print what the checks found; fail if a thousand jobs would."""
    input:
        node="<results>/preflight/node.json",
        requests="<results>/preflight/requests.json",
    log:
        "<logs>/preflight.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("preflight"),
    script:
        "../../scripts/preflight.py"


def plan_of_chains(wildcards):
    """List the chains by name, with the arm whose iteration 1 they start from."""
    return [{**vars(chain), "first": FIRST[chain.arm]} for chain in CHAINS]


RUN_FOLDERS = {name: config["pathvars"][name] for name in ("results", "logs", "benchmarks")}
RUN_FOLDERS["slurm"] = ".snakemake/slurm"


def preview_asked(wildcards):
    """Return what `make_preview` takes; its workflow may not run the rules of data and trainings."""
    computing = {"draw_synthetic_pets", "download_oxford_pet", "prepare_dataset", "write_intact_mask", "fetch_encoder"}
    computing |= {"train_single_pass", "train_model", "compute_saliency", "shrink_mask", "evaluate_model"}
    return {
        "config": config,
        "chains": plan_of_chains(wildcards),
        "folders": RUN_FOLDERS,
        "command": command_of_run(wildcards)[:5],
        "rules": [each.name for each in workflow.rules if each.name not in computing],
    }


def command_of_run(wildcards):
    """Return the command that runs this experiment, without a profile: five words, then its configuration."""
    files = [os.path.abspath(path) for path in workflow.config_settings.configfiles]
    own = workflow.config_settings.config_args
    return [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        workflow.main_snakefile,
        *(["--configfile", *files] if files else []),
        *(["--config", *own] if own else []),
    ]


rule status:
    """Print which chains have ended, run, wait or failed, and how long the rest takes; beside a running snakemake."""
    log:
        "<logs>/status.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("status"),
        chains=plan_of_chains,
        folders=RUN_FOLDERS,
    script:
        "../../scripts/status.py"


rule preview:
    """Make tables, figures and report of the seeds for which all arms have ended, in a folder of their own."""
    log:
        "<logs>/preview.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("preview"),
        asked=preview_asked,
    script:
        "../../scripts/preview.py"


rule set_up_site:
    """Write a profile of this cluster below profiles/site and the job that drives a run; end with preflight."""
    input:
        template=checkout("profiles/slurm/config.yaml"),
    log:
        "<logs>/set_up_site.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("set_up_site"),
        folder="profiles/site",
        command=command_of_run,
        needs_gpu=bool(GPUS),
    script:
        "../../scripts/set_up_site.py"
