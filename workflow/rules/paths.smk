"""Where files lie: the input functions of the rules, by name. No rules."""

RESULTS = config["pathvars"]["results"]
PICTURE_LIST = f"{RESULTS}/pictures.json"


def made_data(wildcards):
    """Folder of the pictures that are drawn or downloaded; none, if a folder is given."""
    made = {"synthetic": "<results>/synthetic_pets", "oxford_pet": "<resources>/oxford_pet"}
    return [] if DATASET["root"] else made[DATASET["source"]]


def iteration_file(chain, iteration, name):
    if iteration > 1:
        return f"<results>/{chain.arm}/top_{chain.threshold}/seed_{chain.seed}/iteration_{iteration}/{name}"
    if name == "mask.h5":
        return "<results>/intact_mask.h5"
    return f"<results>/{FIRST[chain.arm]}/top_100/seed_{chain.seed}/iteration_1/{name}"


def previous_model(wildcards):
    return iteration_file(wildcards, int(wildcards.iteration) - 1, "model.safetensors")


def previous_history(wildcards):
    return iteration_file(wildcards, int(wildcards.iteration) - 1, "history.csv")


def previous_mask(wildcards):
    return iteration_file(wildcards, int(wildcards.iteration) - 1, "mask.h5")


def first_encoder(wildcards):
    """File of the weights that the encoder of a training begins with, if it does not go on from a model."""
    arm = ARMS[wildcards.arm]
    name = encoder_name(arm["model"])
    goes_on = wildcards.get("iteration", "1") != "1" and arm["reduction"]["start"] == "warm"
    return f"<resources>/encoders/{name}.safetensors" if name and not goes_on else []


def given_weights(wildcards):
    """File of weights that the user names for an encoder."""
    weights = ENCODERS[wildcards.encoder]["weights"]
    return [] if weights == "imagenet" else outside(weights)


def chain_models(wildcards):
    iterations = ARMS[wildcards.arm]["reduction"]["iterations"]
    return [iteration_file(wildcards, i, "model.safetensors") for i in range(1, iterations + 1)]


# Functions, not lists: every job of a cluster reads these rules, and few need the thousands of files.
def chain_files(name):
    """Return the input function that lists one file of every chain."""

    def files_of(wildcards):
        return [f"<results>/{c.arm}/top_{c.threshold}/seed_{c.seed}/{name}" for c in final_chains()]

    return files_of


def iteration_files(name, first=1):
    """Return the input function that lists one file of every iteration of every chain, from iteration `first` on."""

    def files_of(wildcards):
        return [iteration_file(c, i, name) for c in final_chains() for i in range(first, c.iterations + 1)]

    return files_of


def exported_model(wildcards):
    return iteration_file(CHOSEN, CHOSEN.iteration, "model.onnx")


def chosen_model(wildcards):
    return iteration_file(wildcards, int(wildcards.iteration), "model.safetensors")


def method_examples(wildcards):
    return f"<results>/{config['report']['method']}/top_{wildcards.threshold}/seed_{SEEDS[0]}/examples.h5"


def method_first_model(wildcards):
    """Model that all sources of saliency are asked: of iteration 1 of the arm that the report is about."""
    return iteration_file(method_chains()[0], 1, "model.safetensors")


def sources_table(wildcards):
    return ["<results>/sources.csv"] if config["report"]["sources"] else []
