"""What jobs ask of a cluster, and what an earlier run left on it. No rules."""

import subprocess

# `device: cpu` asks for no GPU. What a training computes on is the configuration's affair, where it runs the profile's.
GPUS = 0 if config["training"]["device"] == "cpu" else 1


def asked_resources(rule):
    """Return a rule's threads and resources at the first attempt, as the profile changed them."""
    asked = rule.expand_resources({}, [], attempt=1)
    return {key: value for key, value in asked.items() if isinstance(value, (int, str))}


def slurm_requests(wildcards):
    """Return what each kind of Slurm job asks for, {name: {resource: value}}; nothing on this machine.

    The jobs of a grouped chain run one after the other: it asks for the sum of their minutes and the most of the rest.
    """
    if workflow.executor_plugin.name != "slurm":
        return {}
    reductions = max(chain.iterations for chain in CHAINS) - 1
    requests, chain = {}, {}
    for step in workflow.rules:
        asked = asked_resources(step)
        if step.name in workflow.group_settings.overwrite_groups:
            minutes = asked["runtime"] * (reductions if "iteration" in step.wildcard_names else 1)
            chain = {
                key: chain.get("runtime", 0) + minutes if key == "runtime" else max(chain.get(key, value), value)
                for key, value in (chain | asked).items()
            }
        elif not workflow.is_local(step):
            requests[step.name] = asked
    return requests | ({"a chain": chain} if chain else {})


def refuse_leftover_jobs():
    """Stop if Slurm still has jobs that an earlier snakemake submitted from this folder: both would write the same files."""
    if workflow.executor_plugin.name != "slurm":
        return
    found = subprocess.run(["squeue", "--me", "-h", "-o", "%i|%Z|%k"], capture_output=True, text=True, check=False)
    jobs = [line.split("|") for line in found.stdout.splitlines()]
    left = [number for number, folder, comment in jobs if folder == os.getcwd() and comment.startswith("rule_")]
    if left:
        sys.exit(
            "Slurm still has jobs that an earlier snakemake submitted from this folder: both runs would write the same files. "
            f"Wait for them, or: scancel {' '.join(left)}"
        )
