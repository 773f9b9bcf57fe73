"""`python -m nas`, and what torchrun starts: `torchrun -m nas train CONFIG`."""

from nas.cli import main

if __name__ == "__main__":
    main()
