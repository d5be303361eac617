"""Draw pets in the Oxford-IIIT Pet layout."""

from spatial_reduction.joblog import logged
from spatial_reduction.synthetic import draw_synthetic_pets

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        draw_synthetic_pets(
            output=snakemake.output[0],
            test_share=snakemake.params.test_share,
            **snakemake.params.synthetic,
        )
