"""The benchmark of models: every arm of a suite under one protocol, seeds apart, peers in the same run."""

from bench.suites.result import ArmScores, Kind, SuiteResult
from bench.suites.run import SuiteOptions, run_suite
from bench.suites.write import write_suite

__all__ = ["ArmScores", "Kind", "SuiteOptions", "SuiteResult", "run_suite", "write_suite"]
