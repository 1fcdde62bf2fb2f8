"""``python -m defacedask``."""

from defacedask.cli import main

if __name__ == "__main__":
    main()
