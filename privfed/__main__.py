"""`python -m privfed` is the command `privfed`."""

from privfed.cli import main

if __name__ == "__main__":
    main()
