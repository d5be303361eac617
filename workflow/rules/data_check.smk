"""
Raw pictures -> a page that says, before anything is trained, whether they are read rightly and what a run costs.

    snakemake check --configfile my.yaml

    inputs:  dataset.root, or the pictures that are drawn or downloaded
    outputs: <results>/check.html, check/summary.json; the findings are printed, and it fails if a run would stop
"""

# What the time of a step does not depend on.
UNTIMED = {"epochs", "schedule", "keep", "seed_offset", "device", "deterministic"}


def step_of(arm):
    """Return what the time of an arm's steps depends on."""
    training = {key: value for key, value in ARMS[arm]["training"].items() if key not in UNTIMED}
    return {"model": ARMS[arm]["model"], "training": training}


def timed_networks():
    """List the networks and steps that the arms differ by, each once."""
    steps = [step_of(arm) for arm in ARMS]
    return [step for position, step in enumerate(steps) if step not in steps[:position]]


# Rules that a run of everything else asks nothing of.
APART = {"all", "predict", "predict_images", "export", "export_model", "compare", "compare_experiments"}
APART |= {"check", "check_data", "time_networks", "check_requests", "check_node", "preflight", "set_up_site"}
APART |= {"status", "preview"}


def planned_jobs():
    """Return {rule: number of its jobs} of a whole run that begins with nothing."""
    models = {iteration_file(c, i, "model.safetensors") for c in CHAINS for i in range(1, c.iterations + 1)}
    masks = {iteration_file(c, i, "mask.h5") for c in CHAINS for i in range(2, c.iterations + 1)}
    first = {iteration_file(c, 1, "model.safetensors") for c in CHAINS}
    drawn = dict.fromkeys((rule.name for rule in workflow.rules if rule.name.startswith("plot_")), 0)
    drawn |= {f"plot_{figure}": 1 for figure in figures() if not figure.startswith("examples")}
    counts = {
        **drawn,
        "plot_examples": len(method_chains()),
        "render_examples": len(method_chains()),
        "render_sources": int(bool(config["report"]["sources"])),
        "draw_synthetic_pets": int(DATASET["root"] is None and DATASET["source"] == "synthetic"),
        "download_oxford_pet": int(DATASET["root"] is None and DATASET["source"] == "oxford_pet"),
        "fetch_encoder": len(ENCODERS),
        "train_single_pass": len(first),
        "train_model": len(models - first),
        "compute_saliency": len(masks),
        "shrink_mask": len(masks),
        "evaluate_model": len(CHAINS),
        "decide_look": len(LOOKS),
    }
    names = [rule.name for rule in workflow.rules if rule.name not in APART]
    return {name: counts.get(name, 1) for name in names if counts.get(name, 1)}


def check_design(wildcards):
    """Return what an estimate needs to know of the arms; see `report.data_check.write_data_check`."""
    networks = timed_networks()
    return {
        "seeds": len(SEEDS),
        "jobs": planned_jobs(),
        "arms": [
            {
                "name": name,
                "network": networks.index(step_of(name)),
                "batch_size": arm["training"]["batch_size"],
                "epochs": arm["training"]["epochs"],
                "iterations": arm["reduction"]["iterations"],
                "source": arm["reduction"]["source"],
                "thresholds": len(arm["reduction"]["thresholds"]),
                "is_first": FIRST[name] == name,
            }
            for name, arm in ARMS.items()
        ],
    }


rule time_networks:
    """Time a step and a prediction of every network on random images."""
    output:
        temp("<results>/check/networks.json"),
    log:
        "<logs>/time_networks.log",
    benchmark:
        "<benchmarks>/time_networks.tsv"
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=GPUS,
        mem_mb=8000,
    params:
        code=code("time_networks"),
        networks=timed_networks(),
        classes=CLASSES,
        dataset={key: config["dataset"][key] for key in ("image_size", "colour")},
        device=config["training"]["device"],
        deterministic=config["training"]["deterministic"],
    script:
        "../../scripts/time_networks.py"


rule check_data:
    """Look at all pictures and labels: outlines, values, sizes, what cannot be used; estimate the time of a run."""
    input:
        raw=made_data,
        networks="<results>/check/networks.json",
        template=checkout("workflow/report/check.html.j2"),
    output:
        page="<results>/check.html",
        summary="<results>/check/summary.json",
    log:
        "<logs>/check_data.log",
    benchmark:
        "<benchmarks>/check_data.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 64
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code("check_data"),
        pictures=pictures,
        lists=listed_names,
        dataset=dataset_section,
        settings={key: config[key] for key in ("training", "evaluation", "report")},
        design=check_design,
    script:
        "../../scripts/check_data.py"


# It has no output, so it runs, and tells the findings, whenever it is asked for; if it fails, the page stays.
rule check:
    """Print what was found and how long a run takes; fail if a run would stop."""
    input:
        page="<results>/check.html",
        summary="<results>/check/summary.json",
    log:
        "<logs>/check.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code("check"),
    script:
        "../../scripts/check.py"
