"""The data-set doctor: what is wrong with these images and masks, and what to do about it.

Most failures of training are failures of the data, and show up late: as a black prediction, as an
accuracy of 93 % that means nothing, as a score that is too good to be true.

- `survey` looks at every file once, through the reader that training uses, and keeps figures only;
- `alignment` finds masks that are shifted against their images;
- `file_checks` and `mask_checks` judge: small functions that yield findings;
- `report` puts it all together.
"""

from tinyunet.data_checks.findings import Finding
from tinyunet.data_checks.report import Report, draw_contact_sheet, examine, save_report

__all__ = ["Finding", "Report", "draw_contact_sheet", "examine", "save_report"]
