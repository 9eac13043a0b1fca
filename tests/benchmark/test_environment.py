from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

from qwen_embed_integrations.benchmark import environment


def test_versions_name_python_and_what_is_installed() -> None:
    found = environment.versions()
    assert found["python"].endswith(sys.version.split()[0])
    assert found["numpy"] == np.__version__
    assert "chromadb" in found


def test_hardware_names_processor_cores_and_memory() -> None:
    found = environment.hardware()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0.1


def test_asking_for_the_hardware_does_not_load_torch() -> None:
    code = (
        "import sys; from qwen_embed_integrations.benchmark import environment;"
        "environment.hardware(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 our own code


def test_the_peak_of_memory_is_seen_after_it_is_given_back() -> None:
    with environment.MemoryWatch(interval=0.01) as watch:
        block = np.ones(16 * 2**20)  # 128 MiB
        while watch.peak_mib < watch.before_mib + 100:
            time.sleep(0.01)
        del block
    assert watch.peak_mib > watch.before_mib + 100
