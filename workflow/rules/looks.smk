"""
Seeds that are added by looks: after each, is the method's difference from the primary comparator decided?

    inputs:  <results>/dataset.h5; counts.h5 of the method and the primary comparator
    outputs: <results>/looks/after_{look}_seeds.json

The other arms are trained for the seeds that the last look ends with.
"""

import json


def compared_chains(look):
    """List the chains of the method and the primary comparator that a look is about: those of seeds 1 to `look`."""
    arms = (config["report"]["method"], EVALUATION["comparators"][0])
    return [chain for chain in CHAINS if chain.arm in arms and int(chain.seed) <= look]


def look_counts(wildcards):
    """List the counts that a look is about; it waits for the look before it, which may be the last."""
    earlier = [look for look in LOOKS if look < int(wildcards.look)]
    if earlier:
        checkpoints.decide_look.get(look=earlier[-1])
    return [
        f"<results>/{c.arm}/top_{c.threshold}/seed_{c.seed}/counts.h5" for c in compared_chains(int(wildcards.look))
    ]


def look_labels(wildcards):
    return [[c.arm, c.threshold, c.seed] for c in compared_chains(int(wildcards.look))]


checkpoint decide_look:
    """Test the method against the primary comparator after some seeds, and say whether more are needed."""
    input:
        dataset="<results>/dataset.h5",
        counts=look_counts,
        references="<results>/references.csv",
    output:
        "<results>/looks/after_{look}_seeds.json",
    log:
        "<logs>/decide_look/after_{look}_seeds.log",
    benchmark:
        "<benchmarks>/decide_look/after_{look}_seeds.tsv"
    wildcard_constraints:
        look=r"\d+",
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=4000,
    params:
        code=code("decide_look"),
        chains=look_labels,
        asked=asked_origins,
        looks=LOOKS,
        evaluation={**EVALUATION, "class_groups": GROUPS},
        report=PRIMARY_QUESTION,
    script:
        "../../scripts/decide_look.py"


def look_files():
    """Yield the file of each look until the one that stops; asks Snakemake to make the next one that is not there."""
    for look in LOOKS:
        path = checkpoints.decide_look.get(look=look).output[0]
        yield path
        with open(path) as file:
            if json.load(file)["stops"]:
                return


def last_look(wildcards):
    return list(look_files())[-1:]


def final_chains():
    """List the chains of all arms for the seeds that the experiment ends with."""
    if not LOOKS:
        return CHAINS
    seeds = LOOKS[len(list(look_files())) - 1]
    return [chain for chain in CHAINS if int(chain.seed) <= seeds]
