"""`python -m dckd_ext` is `dckd`."""

from dckd_ext.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
