# SPDX-License-Identifier: Apache-2.0
"""What ../peers.py runs: the workloads, FastKMeans and others at each of them, and the table of what came out."""
