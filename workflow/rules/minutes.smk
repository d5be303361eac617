"""How long the jobs of this configuration take, and so how many minutes they ask for. No rules.

An estimate, to be replaced by what a first run took (`cluster.measured`). A job that runs into its limit is run again with
more time (`retries`) and goes on where it was, so the margin is small.
"""

import csv
from functools import cache
from math import ceil

# Of 74 GFLOP (widths 32, 64, 128, 8 images of 128 x 128), a step of training took 0.8 to 1.5 ms on an H100: the slower.
GPU_FLOPS, LEAST_STEP = 50e12, 1e-3
CPU_FLOPS = 20e9  # a thread; measured in training: 12 to 40
SECONDS_TO_START = 10  # of a job: two Snakemakes, torch, the files of an environment on a disk that others use
SECONDS_TO_READ = 0.002  # an image of 128 x 128, from file to file; as much to write
SECONDS_TO_MEASURE = 0.003  # the predictions of an image of 128 x 128: overlap, boundaries, calibration
SECONDS_TO_COMPARE = 0.5  # a training: its counts and those of its validation read, resampled 2000 times, measured
PASSES = {
    "integrated_gradients": 70,
    "iterative_grad_cam": 10,
    "superpixel": 10,
}  # of the network, for an image's saliency
IMAGES = {"oxford_pet": (3680, 3669)}  # for training and test, where there is no folder to count in
MARGIN = 1.6
WARNING = 1  # minute: Slurm sends the warning of a time limit up to a minute early
ESTIMATED = ("compute_saliency", "shrink_mask", "train_model", "train_single_pass", "evaluate_model")
UNKNOWN = (64, 128, 256, 512)  # widths of a U-Net that takes as long as most: for a network of the user's
ITERATION = ("compute_saliency", "shrink_mask", "train_model")


@cache
def counted_images():
    """Return how many images there are to train on, to validate and to test on, at most."""
    dataset, limit = config["dataset"], config["dataset"]["limit"]
    if dataset["source"] == "synthetic":
        test = ceil(dataset["synthetic"]["images"] * dataset["split"]["test_share"] / 100)
        train = dataset["synthetic"]["images"] - test
    elif dataset["root"]:
        files = sum(len(names) for _, _, names in os.walk(dataset["root"]))
        train = test = ceil(files / 2)  # an image and its labels; how they are split is not known yet
    else:
        train, test = IMAGES.get(dataset["source"], (5000, 5000))
    train, test = (min(train, limit), min(test, limit)) if limit else (train, test)
    validation = ceil(train * dataset["split"]["validation_share"] / 100)
    return train - validation, validation, test


def flops_of_image(model):
    """Return the floating-point operations of one prediction of a U-Net: convolutions of 3 x 3, two a level."""
    side, widths = model.get("window") or config["dataset"]["image_size"], model.get("widths", UNKNOWN)
    areas = [(side / 2**depth) ** 2 for depth in range(len(widths))]
    before = [3, *widths]
    down = sum(9 * area * (first + width) * width for area, first, width in zip(areas, before, widths))
    up = sum(27 * area * width**2 + area * width * deeper for area, width, deeper in zip(areas, widths, widths[1:]))
    return 2 * (down + up)


def speed():
    return GPU_FLOPS if GPUS else CPU_FLOPS


def seconds_of(job, arm):
    """Return the seconds that one job of a rule takes for an arm."""
    model, training, reduction = (ARMS[arm][section] for section in ("model", "training", "reduction"))
    train, validation, test = counted_images()
    size = (config["dataset"]["image_size"] / 128) ** 2
    windows = training.get("windows", 1)
    forward = flops_of_image(model) / speed()
    if job in ("train_model", "train_single_pass"):
        step = max(3 * forward * windows * training["batch_size"], LEAST_STEP)
        work = training["epochs"] * (ceil(train / training["batch_size"]) * step + validation * forward)
    elif job == "compute_saliency":
        work = train * (forward * PASSES.get(reduction["source"], 1) + 2 * SECONDS_TO_READ * size)
    elif job == "shrink_mask":
        work = train * SECONDS_TO_READ * size
    else:
        rounds = reduction["iterations"] + len(config["evaluation"]["protocols"]) - 1
        copies = config["evaluation"]["test_time_augmentation"]
        work = rounds * (validation + test) * (forward * copies + SECONDS_TO_MEASURE * size)
    return SECONDS_TO_START + work


@cache
def measured():
    """Return {rule: {mem_mb, minutes}} of what an earlier run took, as its costs.csv says; {} without one."""
    path = config["cluster"]["measured"]
    if path is None:
        return {}
    refuse_unless(
        os.path.isfile(path), "cluster.measured", f"{path}: no such file; a run writes it as <results>/costs.csv"
    )
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    refuse_unless(
        rows and {"rule", "suggested_mem_mb", "seconds_max"} <= rows[0].keys(),
        "cluster.measured",
        f"{path}: not the costs.csv of a run",
    )
    return {
        row["rule"]: {
            "mem_mb": row["suggested_mem_mb"] and int(float(row["suggested_mem_mb"])),
            "seconds": float(row["seconds_max"]),
        }
        for row in rows
    }


def taken(job, arm):
    """Return the seconds that a job of a rule took in an earlier run, else the estimate."""
    known = measured().get(job)
    return known["seconds"] if known else seconds_of(job, arm)


def minutes(job):
    """Return the function that says how many minutes a job asks for: its estimate, or what an earlier run took, and a margin.

    The jobs of a chain that travels as one Slurm job ask for its minutes together: each training for its iteration,
    rounded up over the chain, the saliency and the mask for none.
    """

    def asked(wildcards, attempt):
        is_first = job == "train_model" and "iteration" not in wildcards.keys()
        travels = job in ITERATION and not is_first and set(workflow.group_settings.overwrite_groups) >= set(ITERATION)
        if not travels:
            seconds = taken("train_single_pass" if is_first else job, wildcards.arm)
            return (ceil(MARGIN * seconds / 60) + WARNING) * attempt
        if job != "train_model":
            return 0
        one = MARGIN * sum(taken(each, wildcards.arm) for each in ITERATION) / 60
        done = int(wildcards.iteration) - 2
        return (ceil(one * (done + 1)) - ceil(one * done)) * attempt

    return asked


def minutes_of_table(wildcards, attempt, rulename):
    """Return the minutes that a table or a figure asks for: three, or one where it travels with others as one Slurm job.

    That job asks for the sum of theirs. Each takes some seconds; the comparison of the arms asks for what else it takes.
    """
    travels = rulename in workflow.group_settings.overwrite_groups
    return (1 if travels else 3) * attempt


def minutes_to_compare(wildcards, attempt):
    """Return the minutes that the comparison of all arms asks for; those of the warning for all that it travels with."""
    trainings = sum(chain.iterations for chain in CHAINS)
    known = measured().get("compare_arms")
    seconds = known["seconds"] if known else SECONDS_TO_START + SECONDS_TO_COMPARE * trainings
    return (ceil(MARGIN * seconds / 60) + WARNING) * attempt


def megabytes(job, otherwise):
    """Return the function that says how much memory a job asks for: what an earlier run took, else `otherwise`."""

    def asked(wildcards, attempt):
        return (measured().get(job, {}).get("mem_mb") or otherwise) * attempt

    return asked
