"""What a function must do so that it can be compared.

The help of `rosetta compare` and its page say it, and so does the error if a function does not.
"""

CONTRACT = (
    "a function is called with NumPy arrays, in the order of the inputs or by their names. Images "
    "have the axes (N, C, H, W). They have (N, H, W, C) if you say that its layout is NHWC, or if "
    "it accepts no other order. The function is called in float32, and in float64 as well to see "
    "what rounding does. It returns an array of numbers whose first axis is N, or several such "
    "arrays in a tuple, a list or a dictionary. It must return the same values each time, and "
    "must not change its inputs"
)
