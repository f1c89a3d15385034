import subprocess
import sys

HEAVY = ("sqlalchemy", "fastapi", "scipy", "numpy", "botocore", "obstore", "prometheus_client")


def test_a_router_loads_nothing_that_it_does_not_need():
    code = f"import sys, gnomon.router.router; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
