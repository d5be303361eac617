"""Tell what a look at the data found."""

from spatial_reduction.report.data_check import tell_data_check
from spatial_reduction.runtime.log import logged

if __name__ == "__main__":
    with logged(snakemake.log[0]):
        tell_data_check(summary=snakemake.input.summary, page=snakemake.input.page)
