"""`python -m hms_ops` is `hms-ops-engine`, for where the console script is not on the path."""

from hms_ops.cli.main import main

if __name__ == "__main__":
    main()
