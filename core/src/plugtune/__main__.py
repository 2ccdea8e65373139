"""`python -m plugtune` is the same program as `plugtune`."""

from plugtune.cli.main import main

if __name__ == "__main__":
    main()
