"""Download the Oxford-IIIT Pet release."""

from spatial_reduction.data.download import download_oxford_pet
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        download_oxford_pet(output=snakemake.output[0])
