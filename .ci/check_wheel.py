"""check_wheel.py FOLDER — the wheel in FOLDER is one, for the stable ABI, and needs nothing that a bare system lacks.

SPDX-License-Identifier: Apache-2.0"""

import pathlib
import subprocess
import sys
import tempfile
import zipfile

ALLOWED = {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libz.so.1"}


def main(folder):
    wheels = list(folder.glob("*.whl"))
    assert len(wheels) == 1, f"{len(wheels)} wheels in {folder}"
    name = wheels[0].name
    assert name.startswith("fast_kmeans_suite-") and "-cp311-abi3-" in name, name
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(wheels[0]) as wheel:
        files = wheel.namelist()
        cores = [file for file in files if file.endswith(".so")]
        assert cores == ["fast_kmeans/_core.abi3.so"], cores
        for needed in ("fast_kmeans/py.typed", "fast_kmeans/_core.pyi", "FastKMeansClassifier.py"):
            assert needed in files, f"{needed} is not in {name}"
        stray = [f for f in files if not f.startswith(("fast_kmeans/", "fast_kmeans_suite-")) and f != "FastKMeansClassifier.py"]
        assert not stray, f"{name} also holds {stray}"
        core = wheel.extract(cores[0], scratch)
        said = subprocess.run(["readelf", "-d", core], check=True, capture_output=True, text=True).stdout
        needs = {line.split("[")[1].rstrip("]") for line in said.splitlines() if "(NEEDED)" in line}
        assert needs <= ALLOWED, f"{name} needs {sorted(needs - ALLOWED)}"
    said = subprocess.run([sys.executable, "-m", "auditwheel", "show", str(wheels[0])], capture_output=True, text=True)
    print(f"{name}: needs {', '.join(sorted(needs))}")
    assert said.returncode == 0, said.stderr
    assert "manylinux" in said.stdout, said.stdout
    print(" ".join(said.stdout.split()))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
