"""What a function of anybody's has to keep to, to be compared.

It stands in the help of `rosetta compare`, on its page, and in the error where it is broken.
"""

CONTRACT = (
    "a function is called with NumPy arrays, in the order of the inputs or by their names: images "
    "as (N, C, H, W), or as (N, H, W, C) where its layout is said to be NHWC or where it takes no "
    "other, in float32, and in float64 as well, which shows what rounding does; it returns an "
    "array of numbers with N first, several in a tuple or list, or some by name in a dictionary, "
    "gives the same each time, and leaves its inputs as they are"
)
