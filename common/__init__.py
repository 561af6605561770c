"""The networks as the papers have them, and what is done with them, without any framework.

This folder is the package `efficientnet_rosetta.common`.  In a checkout in which nothing is
installed it can be imported as `common` too, and then both names mean the same modules.
"""

if __name__ == "common":
    from ._util.checkout import alias

    alias(__name__)
