# SPDX-License-Identifier: Apache-2.0
"""What ../peers.py runs: the workloads, FastKMeans and others at each, and the table of what came out."""
