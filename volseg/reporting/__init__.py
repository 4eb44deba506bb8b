"""The report: self-contained HTML pages of scores, or of results without references."""
