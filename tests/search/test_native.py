from hypothesis import given, settings
from hypothesis import strategies as st
from instances import SHAPES, make_genes, make_instance

from tdse.search.native import Evaluator
from tdse.search.reference import assess


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 10**9),
    st.integers(1, 40),
    st.integers(1, 5),
    st.sampled_from(SHAPES),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_equal_to_the_reference_to_the_last_bit(
    seed, n_ops, n_devices, shape, cpu, tight, slowed, clustered
):
    problem = make_instance(
        seed, n_ops, n_devices, shape=shape, variants_per_cpu=cpu,
        n_models=1 + seed % min(3, n_ops), tight=tight, slowed=slowed,
    )  # fmt: skip
    genes = make_genes(seed + 1, problem, clustered=clustered, legal=seed % 2 == 0)
    assert Evaluator(problem).outcome(genes) == assess(problem, genes)
