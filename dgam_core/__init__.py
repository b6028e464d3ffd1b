"""DGAM: weakly-supervised action localization by generative attention modeling (CVPR 2020)."""

__version__ = "0.1.0"
