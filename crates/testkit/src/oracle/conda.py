import sys

from conda.cli.main import main

# Imported again by its own helper processes.
if __name__ == "__main__":
    sys.exit(main())
