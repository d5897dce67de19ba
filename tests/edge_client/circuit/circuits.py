"""Random circuits for property tests: any gates, shared weights, features anywhere."""

from hypothesis import strategies as st

from proto.ansatz import assemble
from proto.circuit import FIXED, PAIRS, ROTATIONS, Angle, Circuit, Gate

MAX_WIRES = 4


@st.composite
def angles(draw: st.DrawFn, sources: tuple[str, ...]) -> Angle:
    source = draw(st.sampled_from(sources))
    index, other = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    scale = draw(st.sampled_from([1.0, -0.5, 2.0]))
    return Angle(source, index, other if source == "zz" else 0, scale)


@st.composite
def gates(draw: st.DrawFn, qubits: int, sources: tuple[str, ...]) -> Gate:
    alone = [name for name in (*FIXED, *ROTATIONS) if name not in PAIRS]
    name = draw(st.sampled_from([*alone, *PAIRS] if qubits > 1 else alone))
    wires = draw(st.permutations(range(qubits)))[: 2 if name in PAIRS else 1]
    return Gate(name, tuple(wires), draw(angles(sources)) if name in ROTATIONS else None)


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    """Some read features only at the start (operator picture), some anywhere (re-uploading)."""
    qubits = draw(st.integers(1, MAX_WIRES))
    late = draw(st.sampled_from([("weight", "constant"), ("weight", "feature", "zz")]))
    start = draw(st.lists(gates(qubits, ("feature", "zz", "constant")), max_size=6))
    rest = draw(st.lists(gates(qubits, late), max_size=12))
    wires = st.lists(st.integers(0, qubits - 1), min_size=1, unique=True).map(tuple)
    observables = draw(st.lists(wires, min_size=1, max_size=3))
    return assemble(qubits, (*start, *rest), observables)
