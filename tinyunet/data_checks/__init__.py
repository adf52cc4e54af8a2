"""The data-set doctor: what is wrong with these images and masks, and what to do about it.

Most failures of training are failures of the data, and show up late: as a black prediction, as an
accuracy of 93 % that means nothing, as a score that is too good to be true.

- `examination` reads all files as training does: what that refuses is a problem. The rest is
  counted, and compared with the validation images;
- `report` puts it in words and in a picture.
"""

from tinyunet.data_checks.examination import examine
from tinyunet.data_checks.report import Report, draw_contact_sheet, save_report

__all__ = ["Report", "draw_contact_sheet", "examine", "save_report"]
