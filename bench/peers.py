# SPDX-License-Identifier: Apache-2.0
"""FastKMeans against scikit-learn, faiss, SuperKMeans and PyTorch: the same rows, the same start, the same threads.

    python bench/peers.py [--quick] [--only PART ...] [--repeats 3] [--budget MINUTES] [--superkmeans FOLDER]
                          [--out FILE] [--table FILE ...]

Every measurement runs in a process of its own, engines in turn, several times; the figure is the median. Needs the
package fast_kmeans, scikit-learn, faiss-cpu and torch; an engine that is not there is left out by name. SuperKMeans
is a checkout of github.com/lkuffo/SuperKMeans (or $SUPERKMEANS), compiled here with clang, Eigen and OpenBLAS. Prints
JSON, one line for each workload and engine, to standard output and --out, and at the end the table; --table prints
that of earlier results, the median over several files. OpenBLAS does not know every processor: the kernel that is
fastest here is chosen for each library and said. `make bench-peers` installs what is needed and runs everything."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))
from peers import report, workloads  # noqa: E402

CORES_OF_OPENBLAS = ("", "Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids")
LIBRARY = {
    workloads.OURS: None,
    workloads.FEWER: None,
    "hnsw": "faiss",
}  # whose BLAS an engine uses: its own name's, unless said here
WORTH = 1.05  # a kernel must be faster than the library's own choice by so much


def talk(*words):
    print(*words, file=sys.stderr, flush=True)


class Bench:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(options.folder)
        self.superkmeans = superkmeans_of(options.superkmeans, self.folder)
        self.core = {}  # library: OPENBLAS_CORETYPE
        self.began = time.monotonic()

    # ---- one process

    def ask(self, spec, core="", threads=None):
        """What a worker says, or None and its last words on stderr."""
        count = str(threads or self.options.threads)
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, count)
        environment.pop("OPENBLAS_CORETYPE", None)
        if core:
            environment["OPENBLAS_CORETYPE"] = core
        paths = [str(HERE), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        spec = {"superkmeans": self.superkmeans} | spec
        command = [sys.executable, "-m", "peers.worker", json.dumps(spec)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            talk(f"  {spec['engine']}: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
            return None
        return json.loads(done.stdout.strip().splitlines()[-1])

    def choose_core(self, engine):
        """The fastest OpenBLAS kernel for the engine's library, measured once."""
        library = LIBRARY.get(engine, engine)
        if library is None:
            return ""
        if library not in self.core:
            rates = {}
            for core in CORES_OF_OPENBLAS:
                found = self.ask({"engine": "probe", "library": library}, core, threads=1)
                rates[core] = found["gflops"] if found else 0.0
            best = max(rates, key=rates.get)
            self.core[library] = best if rates[best] > WORTH * rates[""] else ""
            chosen = self.core[library] or "own choice"
            rates = {core or "own choice": round(rate) for core, rate in rates.items()}
            print(json.dumps({"library": library, "sgemm_gflops": rates, "chosen": chosen}), flush=True)
        return self.core[library]

    # ---- one workload

    def measure(self, workload):
        """Engine -> medians over the rounds; None when there is nothing to compare."""
        options = self.options
        folder = self.folder / (workload.name + ("-quick" if options.quick else ""))
        sized = workloads.sized(workload, options.quick)
        if not workloads.prepare(sized, str(folder), options.data):
            talk(f"{workload.name}: left out, {workload.kind} is not in {options.data}")
            return None
        engines = [workloads.OURS] + [e for e in workload.peers if self.possible(e)]
        rounds = {engine: [] for engine in engines}
        for turn in range(options.repeats):
            begun = time.monotonic()
            for engine in list(rounds):
                spec = {
                    "workload": workload.name,
                    "engine": engine,
                    "quick": options.quick,
                    "folder": str(folder),
                }
                spec |= {"threads": options.threads, "judge": turn == 0}
                found = self.ask(spec, self.choose_core(engine))
                if found is None:
                    del rounds[engine]
                else:
                    rounds[engine].append(found)
                    talk(f"  {workload.name} {engine}: {found['seconds']:.4g} s, cpu {found['cpu_s']:.4g} s")
            if self.left() < time.monotonic() - begun:
                break
        if not options.keep:
            shutil.rmtree(folder)
        if workloads.OURS not in rounds or len(rounds) < 2:
            return None
        return {engine: summary(found) for engine, found in rounds.items()}

    def possible(self, engine):
        if self.options.engine and engine not in self.options.engine:
            return False
        return engine != "superkmeans" or self.superkmeans is not None

    def left(self):
        return 60 * self.options.budget - (time.monotonic() - self.began)


def summary(found):
    seconds = [one["seconds"] for one in found]
    middle = statistics.median(seconds)
    return {
        "seconds": middle,
        "spread": round((max(seconds) - min(seconds)) / middle, 3),
        "cpu_s": statistics.median(one["cpu_s"] for one in found),
        "need_mb": round(max(one["need_mb"] for one in found), 1),
        "input_mb": round(found[0]["input_mb"], 1),
        "rounds": len(found),
        "quality": found[0]["quality"],
    }


def superkmeans_of(folder, build):
    """The program around SuperKMeans, compiled when needed; None without the library or a compiler."""
    if not folder:
        talk("superkmeans: left out, no --superkmeans and no $SUPERKMEANS")
        return None
    compilers = [os.environ.get("CXX", ""), *(f"clang++-{n}" for n in range(25, 13, -1)), "clang++"]
    compiler = next((found for name in compilers if name and (found := shutil.which(name))), None)
    build.mkdir(parents=True, exist_ok=True)
    program, lib = build / "superkmeans", pathlib.Path("/usr/lib/x86_64-linux-gnu/openblas-openmp")
    own_eigen = pathlib.Path(folder) / "extern/Eigen"
    eigen = own_eigen if (own_eigen / "Eigen").exists() else "/usr/include/eigen3"
    command = [compiler or "clang++", "-std=c++17", "-O3", "-march=native", "-w", "-fopenmp", "-DEIGEN_USE_BLAS",
               f"-I{folder}/include", f"-I{eigen}", str(HERE / "peers/superkmeans.cpp"), "-o", str(program)]  # fmt: skip
    command += [f"-L{lib}", f"-Wl,-rpath,{lib}"] if lib.exists() else []
    command += ["-lopenblas"]
    if pathlib.Path("/usr/include/fftw3.h").exists():
        command += ["-DHAS_FFTW", "-lfftw3f_omp", "-lfftw3f"]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        talk(f"superkmeans: left out, {error}")
        return None
    return str(program)


def machine_of(program, threads):
    """The peaks at that many threads."""
    try:
        said = subprocess.run([program, str(threads)], check=True, stdout=subprocess.PIPE, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        talk(f"no {program}: nothing is said about the machine's limits")
        return None
    return [json.loads(line) for line in said.splitlines()][-1]


def read_table(paths):
    """Lines of several runs as one: medians."""
    seen = {}
    for path in paths:
        for text in pathlib.Path(path).read_text().splitlines():
            line = json.loads(text)
            if "workload" in line:
                seen.setdefault((line["workload"], line["engine"]), []).append(line)
    merged = []
    for found in seen.values():
        middle = {
            key: statistics.median(line[key] for line in found)
            for key in ("seconds", "cpu_s")
            if key in found[0]
        }
        merged.append(found[-1] | middle)
    ours = {line["workload"]: line for line in merged if line["engine"] == workloads.OURS}
    for line in merged:
        mine = ours.get(line["workload"])
        if mine and mine is not line:
            line["ratio"] = line["seconds"] / mine["seconds"]
            line["cpu_ratio"] = line["cpu_s"] / mine["cpu_s"]
    return merged


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small shapes, to see that everything works")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PART", help="workloads with one of these in their names"
    )
    parser.add_argument("--engine", nargs="+", default=[], help="peers to measure; all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--budget", type=float, default=60, metavar="MINUTES", help="no new workload or round after these"
    )
    parser.add_argument("--superkmeans", default=os.environ.get("SUPERKMEANS"), metavar="FOLDER")
    parser.add_argument(
        "--data", default=str(ROOT.parent / "shared/data"), help="folder of real sets, with a load.py"
    )
    parser.add_argument("--machine", default=str(ROOT / "build/bench/bench/bench_machine"), metavar="PROGRAM")
    parser.add_argument(
        "--folder", default=str(ROOT / "build/bench-peers"), help="where rows lie while they are needed"
    )
    parser.add_argument("--keep", action="store_true", help="leave the rows there")
    parser.add_argument("--out", default=str(ROOT / "build/results/peers.jsonl"))
    parser.add_argument("--table", nargs="+", default=[], metavar="FILE", help="measure nothing")
    return parser.parse_args()


def print_tables(results):
    sizes = {w.name: w.k * w.dim for w in workloads.WORKLOADS}
    print(report.table(results), report.memory_table(results, sizes), sep="\n\n")


def main():
    options = arguments()
    if options.table:
        print_tables(read_table(options.table))
        return
    out = pathlib.Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    bench, results = Bench(options), []
    machine = machine_of(options.machine, options.threads)
    versions = bench.ask({"engine": "versions"})
    print(json.dumps({"versions": versions, "machine": machine, "load": os.getloadavg()[0]}), flush=True)
    with open(out, "w") as file:
        for workload in workloads.WORKLOADS:
            if options.only and not any(part in workload.name for part in options.only):
                continue
            if bench.left() <= 0:
                talk(f"{workload.name}: left out, the {options.budget:g} minutes are over")
                continue
            measured = bench.measure(workload)
            for line in (
                report.lines(workloads.sized(workload, options.quick), measured, machine) if measured else ()
            ):
                results.append(line)
                print(json.dumps(line), flush=True)
                print(json.dumps(line), file=file, flush=True)
    print()
    print_tables(results)


if __name__ == "__main__":
    main()
