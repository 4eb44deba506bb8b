"""Comparison of runs: statistics, cost, tables, report and figure."""
