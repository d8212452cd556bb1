"""The benchmark of models: every arm of a suite under one protocol, seeds apart, peers in the same run."""

from kgdistill.evaluate.suites._result import ArmScores, Kind, SuiteResult
from kgdistill.evaluate.suites._run import SuiteOptions, run_suite
from kgdistill.evaluate.suites._write import write_suite

__all__ = ["ArmScores", "Kind", "SuiteOptions", "SuiteResult", "run_suite", "write_suite"]
