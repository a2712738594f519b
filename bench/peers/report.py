# SPDX-License-Identifier: Apache-2.0
"""From results to lines of JSON and a table."""

from .workloads import FEWER, OURS

HEAD = "| workload | FastKMeans | peer | peer, s | ratio | target | of the limit | quality, ours / peer | memory, ours / peer |"


def lines(workload, measured, machine):
    """One dict for each engine of a workload; measured: name -> what the driver found."""
    ours = measured[OURS]
    for engine, found in measured.items():
        line = {"workload": workload.name, "what": workload.what, "engine": engine} | found
        if engine == OURS:
            line |= limits(workload, found["seconds"], machine)
        else:
            line["ratio"] = round(found["seconds"] / ours["seconds"], 2)
            line["cpu_ratio"] = round(found["cpu_s"] / ours["cpu_s"], 2) if ours["cpu_s"] > 0 else None
            line["target"] = workload.peers[engine]
        yield line


def limits(workload, seconds, machine):
    """What part of the time the machine's peak would need to compare every row with every prototype."""
    rate, percent = workload.flops / seconds / 1e9, {}
    for name, key in (("fp32", "fp32_gflops"), ("int8", "int8_gops")):
        if machine and machine.get(key):
            percent[f"percent_of_{name}"] = round(100 * rate / machine[key], 1)
    return percent


def number(value):
    return "" if value is None else f"{value:.3g}"


def quality(found, other):
    """The first figure of each that both have."""
    ours, theirs = found.get("quality", {}), other.get("quality", {})
    for name in ("inertia", "recall", "accuracy", "rmse"):
        if name in ours and name in theirs:
            if name == "inertia":
                return f"inertia {100 * (ours[name] / theirs[name] - 1):+.4f} %"
            digits = 4 if name in ("recall", "accuracy") else 5
            return f"{name} {ours[name]:.{digits}g} / {theirs[name]:.{digits}g}"
    return ""


def memory(found):
    return f"{found['need_mb']:.0f}"


def row(ours, line, what):
    """A line of the table."""
    goal, ratio, cpu_ratio = line["target"], line["seconds"] / ours["seconds"], line["cpu_s"] / ours["cpu_s"]
    verdict = "" if goal is None else f"{goal:g}, {'met' if ratio >= goal else 'missed'}"
    percent = [f"{ours[key]:.0f}" for key in ("percent_of_fp32", "percent_of_int8") if key in ours]
    return (
        f"| {what} | {number(ours['seconds'])} | {line['engine']} | {number(line['seconds'])} |"
        f" {ratio:.3g} ({cpu_ratio:.3g}) | {verdict} | {' / '.join(percent)} | {quality(ours, line)} |"
        f" {memory(ours)} / {memory(line)} |"
    )


def table(results):
    """Markdown; results: lines as above."""
    out = [HEAD, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    by_engine = {
        engine: {r["workload"]: r for r in results if r["engine"] == engine} for engine in (OURS, FEWER)
    }
    for line in results:
        name = line["workload"]
        if line["engine"] in (OURS, FEWER) or name not in by_engine[OURS]:
            continue
        out.append(row(by_engine[OURS][name], line, f"{name}: {line['what']}"))
        fewer = by_engine[FEWER].get(name)
        if fewer and fewer["quality"]["passes"] < by_engine[OURS][name]["quality"]["passes"]:
            out.append(
                row(fewer, line, f"{name}: as low as exact passes, after {fewer['quality']['passes']}")
            )
    return "\n".join(out)


def memory_table(results, sizes):
    """What our calls held beside their input, and the aim: a tenth of the input and 8 K D bytes."""
    out = ["| workload | input | held | aim |", "| --- | --- | --- | --- |"]
    for line in results:
        if line["engine"] == OURS:
            aim = 0.1 * line["input_mb"] + 8 * sizes[line["workload"]] / 1e6
            verdict = "met" if line["need_mb"] <= aim else f"missed by {line['need_mb'] - aim:.1f}"
            out.append(
                f"| {line['workload']} | {line['input_mb']:.1f} | {line['need_mb']:.1f} | {aim:.1f}, {verdict} |"
            )
    return "\n".join(out)
