"""`python -m psi` is the command `psi`."""

from psi.cli import main

if __name__ == "__main__":
    main()
