"""
A trained model -> predictions of new images; the model in a format that other programs read.

    snakemake --configfile config/oxford_pet.yaml --config "prediction={images: folder}" predict

    inputs:  prediction.images; model.safetensors of the arm, threshold, seed and iteration that `prediction` names
    outputs: <results>/predictions/{folder}/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/
             predictions.csv, and beside it labels/, overlays/ and probabilities/, one file per image: undeclared, so that
             those of other images stay when one cannot be read;
             model.onnx beside any model.safetensors
"""


rule predict_images:
    """Predict the classes of every pixel of new images, at their own size."""
    input:
        images=new_images,
        model=chosen_model,
        code=library("predict_images"),
    output:
        "<results>/predictions/{folder}/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/predictions.csv",
    log:
        "<logs>/predict_images/{folder}/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.log",
    benchmark:
        "<benchmarks>/predict_images/{folder}/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=240,
    params:
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
        code=library("export_model"),
    output:
        "<results>/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}/model.onnx",
    log:
        "<logs>/export_model/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.log",
    benchmark:
        "<benchmarks>/export_model/{arm}/top_{threshold}/seed_{seed}/iteration_{iteration}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        dataset={"classes": CLASSES, **{key: config["dataset"][key] for key in ("image_size", "colour")}},
    script:
        "../../scripts/export_model.py"
