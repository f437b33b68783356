"""Layouts of data sets: importing the folder imports every module in it, so a new recogniser is a file and no list is edited."""

from toolkit.registry import import_all

import_all(__name__, __path__)
