"""
A trained model -> predictions of new images; the model in a format that other programs read.

    snakemake predict --configfile config/oxford_pet.yaml --config "prediction={images: folder}"

    inputs:  prediction.images; model.safetensors of the arm, threshold, seed and iteration that `prediction` names
    outputs: <results>/predictions/{folder}/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/
             predictions.csv, and beside it labels/, overlays/ and probabilities/, one file per image: undeclared, so that
             those of other images stay when one cannot be read;
             model.onnx beside any model.safetensors
"""

import unicodedata
from collections import Counter

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")


def new_images(wildcards):
    """List the pictures of the folder `prediction.images`; before any job runs, so a wrong folder costs nothing."""
    folder = config["prediction"]["images"]
    refuse_unless(folder, "prediction.images", 'names no folder; try --config "prediction={images: path/to/folder}"')
    refuse_unless(os.path.isdir(folder), "prediction.images", f"{folder} is not a folder")
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(PICTURES) and name[0] != ".")
    refuse_unless(names, "prediction.images", f"{folder} holds no picture ({', '.join(PICTURES)})")
    stems = Counter(unicodedata.normalize("NFC", os.path.splitext(name)[0]) for name in names)
    twice = sorted(stem for stem, count in stems.items() if count > 1)
    refuse_unless(not twice, "prediction.images", f"{folder} holds more than one picture named {twice[:10]}")
    for name in names:
        is_text = not any("\ud800" <= character <= "\udfff" for character in name)
        refuse_unless(is_text, "prediction.images", f"{ascii(name)}: the name of a file is not UTF-8; rename it")
        check_path(name, "prediction.images")
    return [outside(os.path.join(folder, name)) for name in names]


def new_predictions(wildcards):
    """Table of the predictions that the configuration asks for, in a folder named as that of the images."""
    new_images(wildcards)
    folder = os.path.basename(os.path.abspath(config["prediction"]["images"]))
    return f"<results>/predictions/{folder}/{CHOSEN.arm}/top_{CHOSEN.threshold}/seed_{CHOSEN.seed}/iteration_{CHOSEN.iteration}/predictions.csv"


rule predict_images:
    """Predict the classes of every pixel of new images, at their own size."""
    input:
        images=new_images,
        model=chosen_model,
    output:
        "<results>/predictions/{folder}/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/predictions.csv",
    log:
        "<logs>/predict_images/{folder}/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.log",
    benchmark:
        "<benchmarks>/predict_images/{folder}/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.tsv"
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=240,
    params:
        code=network_code("predict_images"),
        network=own_network,
        dataset={
            "classes": CLASSES,
            **{key: config["dataset"][key] for key in ("image_size", "colour", "intensity_range")},
        },
        prediction={key: config["prediction"][key] for key in ("resize", "tile")},
        evaluation={key: config["evaluation"][key] for key in ("foreground", "test_time_augmentation")},
        device=config["training"]["device"],
        deterministic=config["training"]["deterministic"],
    script:
        "../../scripts/predict_images.py"


rule export_model:
    """Write a trained model, with the names of its classes, as ONNX."""
    input:
        model="<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/model.safetensors",
    output:
        "<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/model.onnx",
    log:
        "<logs>/export_model/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.log",
    benchmark:
        "<benchmarks>/export_model/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.tsv"
    conda:
        "../../envs/training.yaml"
    resources:
        mem_mb=4000,
    params:
        code=network_code("export_model"),
        network=own_network,
        dataset={"classes": CLASSES, **{key: config["dataset"][key] for key in ("image_size", "colour")}},
    script:
        "../../scripts/export_model.py"
