"""The same model as it is served: in Keras."""

import keras
from keras import layers


def classifier() -> keras.Model:
    """Images (N, H, W, 3) to logits (N, 10)."""
    images = keras.Input((None, None, 3))
    x = strided(layers.Conv2D, images, name="stem", filters=16)
    x = layers.Activation("silu")(normalised("stem_bn", x))
    x = strided(layers.DepthwiseConv2D, x, name="depthwise")
    x = layers.Activation("silu")(normalised("depthwise_bn", x))
    x = layers.Conv2D(32, 1, use_bias=False, name="pointwise")(x)
    x = layers.GlobalAveragePooling2D()(normalised("pointwise_bn", x))
    logits = layers.Dense(10, name="classifier")(x)
    return keras.Model(images, logits, name="classifier_keras")


def strided(kind, x, **settings):
    """A convolution of stride 2, padded as PyTorch pads."""
    x = layers.ZeroPadding2D(1)(x)
    return kind(kernel_size=3, strides=2, padding="valid", use_bias=False, **settings)(x)


def normalised(name, x):
    """Batch norm with PyTorch's epsilon, which is a hundredth of Keras's."""
    return layers.BatchNormalization(epsilon=1e-5, name=name)(x)
