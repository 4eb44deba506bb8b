"""Which cases there are: found in folders of any known layout, shared out into folds, listed."""

from volseg.datalist.case import Case, DataList, Finding, Skipped
from volseg.datalist.finding import find_cases, find_scans
from volseg.datalist.folds import assign_folds, hold_out
from volseg.datalist.listing import read_data_list, write_data_list
from volseg.datalist.naming import Naming
from volseg.datalist.patients import PatientTable, add_groups, read_patient_table

__all__ = [
    "Case",
    "DataList",
    "Finding",
    "Naming",
    "PatientTable",
    "Skipped",
    "add_groups",
    "assign_folds",
    "find_cases",
    "find_scans",
    "hold_out",
    "read_data_list",
    "read_patient_table",
    "write_data_list",
]
