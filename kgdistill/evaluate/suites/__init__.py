"""The benchmark of models: every arm of a suite under one protocol, seeds apart, peers in the same run."""

from kgdistill.evaluate.suites._result import ArmScores, Kind, SuiteResult
from kgdistill.evaluate.suites._write import write_suite

__all__ = ["ArmScores", "Kind", "SuiteResult", "write_suite"]
