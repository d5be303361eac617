"""Draw pets in the Oxford-IIIT Pet layout."""

from spatial_reduction.data.synthetic_pets import draw_synthetic_pets
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        draw_synthetic_pets(
            output=snakemake.output[0],
            test_share=snakemake.params.test_share,
            **snakemake.params.synthetic,
        )
