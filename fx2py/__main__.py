"""``python -m fx2py`` is ``fx2py``."""

from fx2py.cli.app import main

if __name__ == "__main__":
    main()
