"""`python -m volseg`, the same as `volseg`."""

from volseg.cli import main

if __name__ == "__main__":
    main()
