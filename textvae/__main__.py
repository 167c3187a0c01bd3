"""`python -m textvae` and `accelerate launch -m textvae` are the command `textvae`."""

from textvae.cli.main import main

if __name__ == "__main__":
    main()
