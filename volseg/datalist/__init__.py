"""Which cases there are: found in folders of any known layout, shared out into folds, listed."""

from volseg.datalist.case import Case, DataList, Finding, Skipped
from volseg.datalist.finding import find_cases, find_scans
from volseg.datalist.folds import assign_folds
from volseg.datalist.listing import read_data_list, write_data_list

__all__ = [
    "Case",
    "DataList",
    "Finding",
    "Skipped",
    "assign_folds",
    "find_cases",
    "find_scans",
    "read_data_list",
    "write_data_list",
]
