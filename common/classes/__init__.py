"""Names of classes: ImageNet's, as data, and every form in which files state their own."""
