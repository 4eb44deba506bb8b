"""Official scoring programs of BraTS: their rules as data, and how each of them counts.

`protocols` has all protocols by name, and `lesionwise` scores a case under one of them.

| | 2017 to 2022 | 2023 to 2025 | 2026 |
|---|---|---|---|
| rules of the protocols | `rules_until_2025` | `rules_until_2025` | `rules_2026` |
| definitions of the scores | `scores_until_2025` | `scores_until_2025` | `scores_2026` |
| the program | `program_2017` | `program_2023` | `program_2026` |
| lesions and predicted components | | `matching_by_touch` | `matching_one_to_one` |
| lesions joined by other tissue | | `joining` | |
| means over lesions | | `program_2023` | `means_2026` |

`parts` numbers the lesions and components, `area_hd95` is the HD95 of 2023 to 2025, `record` writes
the files of a protocol.
"""
