"""How many jobs compute on this machine's GPUs at a time. No rules."""

# `device: cpu` asks for no GPU. What a training computes on is the configuration's affair, where it runs the profile's.
GPUS = 0 if config["training"]["device"] == "cpu" else 1


def share_gpus():
    """Let as many jobs that ask for a GPU run at a time as this machine has; a machine without one limits none.

    `--resources gpu=N` says otherwise: more than there are share them evenly. Which GPU is a job's own it finds out by
    itself, see `gpu_share`.
    """
    if workflow.executor_plugin.name != "local" or not GPUS or "gpu" in workflow.global_resources:
        return
    sys.path.append(checkout("scripts"))
    from spatial_reduction.runtime.gpu_share import visible_devices

    count = len(visible_devices())
    if count:
        workflow.register_resource("gpu", count)
        workflow.scheduler.global_resources["gpu"] = count  # what it subtracts a job's from
