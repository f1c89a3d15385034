"""`python -m gnomon.serving`: the model server without packing it."""

from .main import main

main()
