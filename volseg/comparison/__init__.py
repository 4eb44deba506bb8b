"""Runs side by side: statistics, cost, tables, report and figure."""
