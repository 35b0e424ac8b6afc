"""``python -m exoscope``."""

from exoscope.cli import main

if __name__ == "__main__":
    main()
