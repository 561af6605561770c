"""`python -m efficientnet_rosetta`, which is the command `rosetta`."""

from efficientnet_rosetta.common.cli import main

if __name__ == "__main__":
    main()
