"""``python -m tinyunet`` is the command ``tinyunet``."""

import sys

from tinyunet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
