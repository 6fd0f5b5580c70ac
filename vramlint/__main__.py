"""``python -m vramlint`` is ``vramlint``."""

import sys

from vramlint.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
