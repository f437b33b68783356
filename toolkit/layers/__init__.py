"""Small modules the nets are made of.

Only what PyTorch does not have: plain, transposed (`nn.ConvTranspose2d`), dilated and 1x1 (`nn.Conv2d`) convolutions,
batch normalisation (`nn.BatchNorm2d`) and dropout are PyTorch's own, used as they are.
"""
