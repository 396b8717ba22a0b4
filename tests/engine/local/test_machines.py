"""What is said of results holds on other machines, too; on all of them: make test-machines."""

import pytest

from tests.support.machines import ISAS, Machine, machines

HELD = "is_said or come_again or tile or alone_and_in_company"
FILES = [
    "tests/engine/model/test_model.py",
    "tests/engine/model/test_linear.py",
    "tests/engine/local/test_calibrate.py",
    "tests/engine/local/test_engine.py",
]
FEW = [Machine(None, 4, False), *[m for m in machines() if (m.isa, m.threads) == ("AVX2", 2)]]


@pytest.mark.parametrize("machine", FEW, ids=str)
def test_what_is_said_of_results_in_company_holds(machine):
    run = machine.test([*FILES, "-k", HELD])
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


def test_every_pair_is_there():
    found = machines()
    isas = {machine.isa for machine in found}
    assert isas <= {*ISAS, None} and None in isas
    assert {(m.isa, m.threads) for m in found} == {(isa, n) for isa in isas for n in (1, 2, 4)}
    assert {(m.isa, m.busy) for m in found} == {(isa, busy) for isa in isas for busy in (0, 1)}
    assert {(m.threads, m.busy) for m in found} == {(n, busy) for n in (1, 2, 4) for busy in (0, 1)}
