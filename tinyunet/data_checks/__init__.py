"""The data-set doctor: what is wrong with these images and masks, and what to do about it.

Most failures of training are failures of the data, and show up late: as a black prediction, as an
accuracy of 93 % that means nothing, as a score that is too good to be true.

- `survey` looks at every file once and keeps figures only;
- `repair` works out what the values in the masks stand for, and writes masks of class numbers;
- `alignment` finds masks that are shifted against their images;
- `file_checks` and `mask_checks` judge: small functions that yield findings;
- `report` puts it all together.
"""

from tinyunet.data_checks.findings import Finding
from tinyunet.data_checks.repair import ColorTable, read_colors
from tinyunet.data_checks.report import (
    Report,
    draw_contact_sheet,
    examine,
    repair_masks,
    save_report,
)

__all__ = [
    "ColorTable",
    "Finding",
    "Report",
    "draw_contact_sheet",
    "examine",
    "read_colors",
    "repair_masks",
    "save_report",
]
