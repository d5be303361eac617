import pytest

from spatial_reduction.evaluation.chain import Chain


def test_a_chain_is_the_first_three_columns_of_its_tables():
    chain = Chain("saliency", "92.5", 3)
    assert chain._asdict() == {"arm": "saliency", "threshold": "92.5", "seed": 3}
    assert {chain: 1}[Chain("saliency", "92.5", 3)] == 1
    with pytest.raises(AttributeError):
        chain.seed = 4
